"""Admin pages of what can be deleted by mistake: each list has its trash."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.admin import SimpleListFilter
from django.db import models
from django.db.models import Q
from django.http import HttpRequest

from accounts.admin.recorded import RecordedAdmin, get_actor
from taskflow.admin.site import action
from taskflow.http.errors import Problem
from tasks.actions.trash import purge, restore
from tasks.models import Task
from tasks.queries.lookup import key_query
from tasks.queries.search import TEXTS, condition_of, matches, read_query
from tasks.queries.trash import TrashKind, rows_in_trash


class TrashFilter(SimpleListFilter):
    title = "trash"
    parameter_name = "trash"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("1", "In the trash")]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        return queryset  # get_queryset() has the rows already: they are others altogether


class TrashableAdmin(RecordedAdmin):
    """Lists what is live, or the trash; there the rows can be restored or deleted for good."""

    def with_details(self, request: HttpRequest, rows: Any) -> Any:
        """What the list shows of each row."""
        return rows

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Any]:
        if is_trash(request):
            rows = rows_in_trash(get_actor(request))[TrashKind(self.opts.model_name)]
        else:
            rows = self.model.objects.visible_to(get_actor(request))
        return self.with_details(request, rows)  # type: ignore[no-any-return]

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> Any:
        """By the full-text index, and a task by its key, as the API searches."""
        if self.model not in TEXTS or not search_term.strip():
            return super().get_search_results(request, queryset, search_term)
        try:
            wanted = matches(self.model, condition_of(read_query(search_term)))
        except Problem:
            return queryset.none(), False
        if self.model is Task:
            wanted |= key_query(search_term) | Q(external_ref=search_term.strip())
        return queryset.filter(wanted), False

    def get_list_filter(self, request: HttpRequest) -> Any:
        return [*super().get_list_filter(request), TrashFilter]

    def get_list_display_links(self, request: HttpRequest, list_display: Any) -> Any:
        if is_trash(request):
            return None  # nothing there can be changed
        return super().get_list_display_links(request, list_display)

    def get_actions(self, request: HttpRequest) -> Any:
        of_trash = {"restore_selected", "purge_selected"}
        return {
            name: found
            for name, found in super().get_actions(request).items()
            if (name in of_trash) == is_trash(request)
        }

    @action(description="Restore")
    def restore_selected(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        for row in queryset:
            restore(get_actor(request), row)
        messages.success(request, "Restored.")

    @action(description="Delete for good")
    def purge_selected(self, request: HttpRequest, queryset: models.QuerySet[Any]) -> None:
        for row in queryset:
            purge(get_actor(request), row)
        messages.success(request, "Deleted for good.")


def is_trash(request: HttpRequest) -> bool:
    return request.GET.get(TrashFilter.parameter_name) == "1"
