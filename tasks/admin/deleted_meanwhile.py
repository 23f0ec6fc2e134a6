"""The page for who saves a row that went to the trash after the form was opened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from accounts.admin.recorded import get_actor, to_problem
from taskflow.admin.refusals import refusal_as_html
from taskflow.audit.history import USERS_OF_EVENT, name_actor
from taskflow.audit.models import Event
from taskflow.http.errors import Problem
from taskflow.http.unavailable import Contended
from tasks.actions.trash import restore
from tasks.models.trash import Trashable
from tasks.queries.lookup import read_id
from tasks.queries.trash import select_trash_by_type

RESTORE = "_restore"  # form field: the user chose to restore the row and to save the edits


def find_deleted_row(request: HttpRequest, type_name: str, object_id: str | None) -> Any:
    """Return the row that a form is sent for, if it is in the trash by itself; otherwise None.

    One query.
    """
    pk = read_id(object_id or "")
    if request.method != "POST" or pk is None:
        return None
    return select_trash_by_type(get_actor(request))[type_name].filter(pk=pk).first()


def save_deleted_row(
    request: HttpRequest, row: Trashable, save: Callable[[], HttpResponse]
) -> HttpResponse:
    """Ask whether the row is to be restored. If the user has chosen that, restore it and save.

    Both happen or neither: a form that is refused leaves the row in the trash.
    """
    if RESTORE not in request.POST:
        return _show(request, row)
    try:
        with transaction.atomic():
            restore(get_actor(request), row)
            response = save()
            if not isinstance(response, HttpResponseRedirect):
                transaction.set_rollback(True)
            return response
    except Contended:  # the whole request is answered again
        raise
    except (Problem, IntegrityError) as error:
        return _show(request, row, to_problem(error))


def _show(request: HttpRequest, row: Trashable, refusal: Problem | None = None) -> HttpResponse:
    """Return the page, with the edits in hidden fields. One query."""
    name = str(row._meta.model_name)
    events = Event.objects.filter(subject_type=name, subject_id=row.pk, verb="deleted")
    event = events.select_related(*USERS_OF_EVENT).order_by("-id").first()
    fields = [
        (key, value)
        for key, values in request.POST.lists()
        for value in values
        if key not in ("csrfmiddlewaretoken", RESTORE)
    ]
    context = {
        **admin.site.each_context(request),
        "title": _("This went to the trash since you opened it"),
        "deleted_by": name_actor(event) if event else "",
        "deleted_at": row.deleted_at,
        "name": str(row),
        "refusal": refusal_as_html(refusal) if refusal else "",
        "fields": fields,
        "restore_field": RESTORE,
        "opts": row._meta,
    }
    return TemplateResponse(request, "admin/deleted_meanwhile.html", context, status=409)
