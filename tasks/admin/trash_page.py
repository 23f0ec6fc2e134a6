"""The page of everything in the trash: who deleted it, when, until when it can be restored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from functools import reduce
from operator import or_
from typing import Any, NamedTuple

from django.contrib import admin, messages
from django.db import IntegrityError, models, transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _

from accounts.admin.recorded import get_actor, to_problem
from taskflow.admin.refusals import refusal_as_html
from taskflow.audit.history import name_actor
from taskflow.audit.models import Event
from taskflow.audit.resource_types import resource_types
from taskflow.http.converters import is_id
from taskflow.http.errors import Problem
from taskflow.http.paging import paginate_models
from taskflow.http.query_parameters import parse_query
from taskflow.http.unavailable import Contended
from tasks.actions.trash import restore
from tasks.admin.done import build_undo_button
from tasks.models.trash import TRASH_RETENTION, Trashable
from tasks.queries.trash import find_in_trash, select_trash_by_type
from tasks.schemas.trash import TrashFilters, TrashKind, trash_item

TRASH_VIEW = "tasks_trash_changelist"
RESTORE_VIEW = "tasks_trash_restore"


class TrashLine(NamedTuple):
    """A row in the trash as the page shows it."""

    kind: str
    label: str
    name: str
    deleted_by: str
    deleted_at: datetime
    purge_after: datetime
    address: str  # where the button sends its request


def show_trash(request: HttpRequest) -> HttpResponse:
    """Show a page of the trash, the latest deleted row first. Takes the filters of GET /trash.

    One query for each type, and one for who deleted the rows.
    """
    try:
        filters = parse_query(request.GET.urlencode(), TrashFilters)
        rows = select_trash_by_type(get_actor(request))
        kinds = filters.sent_fields().get("kind") or rows
        selected = {str(kind): rows[str(kind)] for kind in kinds}
        page = paginate_models(selected, filters, time_field="deleted_at")
    except Problem as problem:
        messages.error(request, refusal_as_html(problem))
        return HttpResponseRedirect(reverse(f"admin:{TRASH_VIEW}"))
    context = {
        **admin.site.each_context(request),
        "title": _("Trash"),
        "lines": build_lines(page["data"]),
        "next_address": _address_of_next(request, page["next_cursor"]),
        "days": TRASH_RETENTION.days,
    }
    return TemplateResponse(request, "admin/trash.html", context)


def restore_from_trash(request: HttpRequest, kind: str, row_id: str) -> HttpResponse:
    """Restore a row (POST), and show the trash again with a link to the row."""
    if kind not in list(TrashKind) or not is_id(row_id) or request.method != "POST":
        raise Http404
    actor = get_actor(request)
    try:
        with transaction.atomic():
            row = find_in_trash(actor, kind, int(row_id))
            restore(actor, row)
    except Contended:  # the whole request is answered again
        raise
    except (Problem, IntegrityError) as error:
        messages.error(request, refusal_as_html(to_problem(error)))
    else:
        messages.success(request, _describe_restored(kind, row, build_undo_button(actor)))
    return HttpResponseRedirect(reverse(f"admin:{TRASH_VIEW}"))


site: Any = admin.site
site.add_page("trash/", show_trash, TRASH_VIEW)
site.add_page("trash/<str:kind>/<str:row_id>/restore/", restore_from_trash, RESTORE_VIEW)


def build_lines(rows: Sequence[tuple[str, models.Model]]) -> list[TrashLine]:
    """Return the lines of (type, row). One query, or none without rows."""
    deletions = find_deletions([(kind, row.pk) for kind, row in rows])
    return [_build_line(kind, row, deletions.get((kind, row.pk))) for kind, row in rows]


def find_deletions(rows: Sequence[tuple[str, int]]) -> dict[tuple[str, int], Event]:
    """Return the last deletion of each row, by (type, id). One query, or none without rows."""
    if not rows:
        return {}
    ids = defaultdict[str, list[int]](list)
    for kind, pk in rows:
        ids[kind].append(pk)
    subjects = [models.Q(subject_type=kind, subject_id__in=pks) for kind, pks in ids.items()]
    events = Event.objects.filter(reduce(or_, subjects), verb="deleted").select_related("actor")
    return {(event.subject_type, event.subject_id): event for event in events.order_by("id")}


def _build_line(kind: str, row: models.Model, deletion: Event | None) -> TrashLine:
    item = trash_item(kind, row)
    assert isinstance(row, Trashable)
    assert row.deleted_at is not None  # it is in the trash
    return TrashLine(
        kind,
        resource_types()[kind].label,
        " ".join(str(item[name]) for name in ("key", "title") if item[name]),
        name_actor(deletion) if deletion else "",
        row.deleted_at,
        row.deleted_at + TRASH_RETENTION,
        reverse(f"admin:{RESTORE_VIEW}", args=[kind, row.pk]),
    )


def _address_of_next(request: HttpRequest, cursor: str | None) -> str | None:
    """Return the address of the next page, or None on the last one."""
    if cursor is None:
        return None
    query = request.GET.copy()
    query["cursor"] = cursor
    return f"?{query.urlencode()}"


def _describe_restored(kind: str, row: Trashable, undo: str) -> str:
    """Return the message after a restoration, with links to the row and to its undo."""
    item = trash_item(kind, row)
    name = " ".join(str(item[part]) for part in ("key", "title") if item[part])
    address = reverse(f"admin:tasks_{kind}_change", args=[row.pk])
    link = format_html('<a class="font-medium underline" href="{}">{}</a>', address, name)
    return format_html("{} {} {}", link, _("is restored."), undo)
