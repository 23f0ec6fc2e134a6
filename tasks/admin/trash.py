"""The base class for admin pages of resource types with a trash, which a list filter shows."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin import SimpleListFilter
from django.db import models
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from accounts.admin.recorded import RecordedAdmin, get_actor
from taskflow.admin.site import action
from taskflow.admin.times import show_time
from taskflow.http.errors import Problem
from tasks.actions.trash import purge, restore
from tasks.admin.deleted_meanwhile import find_deleted_row, save_deleted_row
from tasks.admin.done import report_done
from tasks.models import Task
from tasks.models.trash import TRASH_RETENTION, Trashable
from tasks.queries.lookup import find_task_id_by_any_key
from tasks.queries.search import SEARCH_COLUMNS, build_condition, matches, read_query
from tasks.queries.trash import count_to_delete, select_trash_by_type


class TrashFilter(SimpleListFilter):
    title = gettext_lazy("trash")
    parameter_name = "trash"

    def lookups(
        self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]
    ) -> list[tuple[str, str]]:
        return [("1", _("In the trash"))]

    def queryset(
        self, request: HttpRequest, queryset: models.QuerySet[models.Model]
    ) -> models.QuerySet[models.Model]:
        return queryset  # TrashableAdmin.get_queryset() has already selected the rows


class TrashableAdmin(RecordedAdmin):
    """Lists the rows outside the trash, or those in it, which can be restored or purged."""

    def with_details(
        self, request: HttpRequest, rows: models.QuerySet[Any]
    ) -> models.QuerySet[Any]:
        """Return the rows with the related rows and annotations that the list displays."""
        return rows

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        if is_trash_requested(request):
            rows = select_trash_by_type(get_actor(request))[str(self.opts.model_name)]
        else:
            rows = self.model.objects.visible_to(get_actor(request).viewer)
        return self.with_details(request, rows)

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show or save the form. A row that is in the trash by now can be restored and saved."""
        save = partial(super().changeform_view, request, object_id, form_url, extra_context)
        row = find_deleted_row(request, str(self.opts.model_name), object_id)
        return save_deleted_row(request, row, save) if row is not None else save()

    def get_search_results(
        self, request: HttpRequest, queryset: models.QuerySet[Any], search_term: str
    ) -> tuple[models.QuerySet[Any], bool]:
        """Search by words as the API does. Tasks can also be found by key and external_ref."""
        if self.model not in SEARCH_COLUMNS or not search_term.strip():
            return super().get_search_results(request, queryset, search_term)
        try:
            condition = matches(self.model, build_condition(read_query(search_term)))
        except Problem:
            return queryset.none(), False
        if self.model is Task:
            condition |= Q(external_ref=search_term.strip())
            condition |= Q(pk=find_task_id_by_any_key(search_term))
        return queryset.filter(condition), False

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        return [*super().get_list_filter(request), TrashFilter]

    def get_list_display_links(self, request: HttpRequest, list_display: Any) -> Any:
        if is_trash_requested(request):
            return None  # rows in the trash have no change page
        return super().get_list_display_links(request, list_display)

    def get_actions(self, request: HttpRequest) -> Any:
        trash_actions = {"restore_selected", "purge_selected"}
        return {
            name: action_tuple
            for name, action_tuple in super().get_actions(request).items()
            if (name in trash_actions) == is_trash_requested(request)
        }

    def count_to_delete(self, ids: list[int]) -> dict[str, int]:
        """Return the numbers that the API reports for a deletion, without those that are 0."""
        return {name: count for name, count in count_to_delete(self.model, ids).items() if count}

    def describe_restoration(self) -> str:
        until = show_time(timezone.now() + TRASH_RETENTION)
        return _(
            "Everything that is listed here goes to the trash, from which it can be restored until"
            " %(until)s. Afterwards it is deleted permanently."
        ) % {"until": until}

    def delete_model(self, request: HttpRequest, obj: models.Model) -> None:
        super().delete_model(request, obj)
        report_done(request, describe_deleted(str(obj)))

    def delete_queryset(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        count = len(queryset)
        super().delete_queryset(request, queryset)
        report_done(request, describe_trashed(count))

    def message_user(self, request: HttpRequest, message: Any, *args: Any, **kwargs: Any) -> None:
        """Show the message. Those of deletions are left out: they do not speak of the trash."""
        if not is_deletion(request):
            super().message_user(request, message, *args, **kwargs)

    @action(description=gettext_lazy("Restore"))
    def restore_selected(self, request: HttpRequest, queryset: models.QuerySet[Trashable]) -> None:
        rows = list(queryset)
        for row in rows:
            restore(get_actor(request), row)
        report_done(request, describe_restored(len(rows)))

    @action(description=gettext_lazy("Delete permanently"))
    def purge_selected(self, request: HttpRequest, queryset: models.QuerySet[Trashable]) -> None:
        rows = list(queryset)
        for row in rows:
            purge(get_actor(request), row)
        messages.success(request, describe_purged(len(rows)))


def describe_deleted(name: str) -> str:
    """Return the message after a deletion of one row."""
    return _("“%s” is in the trash, with everything that belongs to it.") % name


def describe_trashed(count: int) -> str:
    """Return the message after a deletion of selected rows."""
    return ngettext(
        "%(n)d row is in the trash, with everything that belongs to it.",
        "%(n)d rows are in the trash, with everything that belongs to them.",
        count,
    ) % {"n": count}


def describe_restored(count: int) -> str:
    """Return the message after rows were restored."""
    return ngettext("%(n)d row is restored.", "%(n)d rows are restored.", count) % {"n": count}


def describe_purged(count: int) -> str:
    """Return the message after rows were deleted permanently, which cannot be undone."""
    return ngettext(
        "%(n)d row is deleted permanently.", "%(n)d rows are deleted permanently.", count
    ) % {"n": count}


def is_deletion(request: HttpRequest) -> bool:
    """Return whether the request moves rows to the trash: on the delete page, or by the action."""
    match = request.resolver_match
    is_delete_page = bool(match and (match.url_name or "").endswith("_delete"))
    return is_delete_page or request.POST.get("action") == "delete_selected"


def is_trash_requested(request: HttpRequest) -> bool:
    return request.GET.get(TrashFilter.parameter_name) == "1"
