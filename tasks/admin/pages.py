"""The admin pages of pages."""

from __future__ import annotations

from django.contrib import admin
from django.db import models
from django.http import HttpRequest

from accounts.admin.fields import FormValues
from accounts.admin.recorded import get_actor
from taskflow.admin.site import AutocompleteSelectFilter, action, display
from taskflow.audit.actor import Actor
from tasks.actions import pages as actions
from tasks.admin.rendered import RenderedAdmin
from tasks.admin.rights import check_writer
from tasks.models import Page
from tasks.rules import require_author_or_manager
from tasks.schemas.pages import PageCreate

STATE_COLORS = {"published": "success", "draft": "warning"}


@admin.register(Page)
class PageAdmin(RenderedAdmin):
    schema = PageCreate
    rendered_field = "body"
    list_display = ["title", "project", "show_state", "owner", "updated_at"]
    list_filter = [
        "is_published",
        ("project", AutocompleteSelectFilter),
        ("owner", AutocompleteSelectFilter),
    ]
    list_filter_submit = True
    search_fields = ["title", "body"]
    autocomplete_fields = ["project", "owner"]
    ordering = ["-id"]
    fields = [("project", "owner"), "title", "body"]
    actions = ["publish", "unpublish", "restore_selected", "purge_selected"]

    def check_view(self, request: HttpRequest) -> None:
        """Permit everybody."""

    def check_add(self, request: HttpRequest) -> None:
        check_writer(request, None)

    def check_change(self, request: HttpRequest, row: Page | None) -> None:
        check_writer(request, row.project if row else None)
        if row is not None:
            require_author_or_manager(get_actor(request), row.project, row.owner_id)

    def check_delete(self, request: HttpRequest, row: Page | None) -> None:
        self.check_change(request, row)

    def with_details(
        self, request: HttpRequest, rows: models.QuerySet[Page]
    ) -> models.QuerySet[Page]:
        return rows.select_related("project", "owner")

    def get_readonly_fields(self, request: HttpRequest, obj: Page | None = None) -> list[str]:
        return ["project"] if obj else []

    def create_row(self, actor: Actor, values: FormValues) -> Page:
        return actions.create_page(actor, values.pop("project"), **values)

    def change_row(self, actor: Actor, row: Page, values: FormValues) -> None:
        actions.update_page(actor, row, **values)

    def delete_row(self, actor: Actor, row: Page) -> None:
        actions.delete_page(actor, row)

    @display(description="state", ordering="is_published", label=STATE_COLORS)
    def show_state(self, page: Page) -> tuple[str, str]:
        return ("published", "Published") if page.is_published else ("draft", "Draft")

    @action(description="Publish")
    def publish(self, request: HttpRequest, queryset: models.QuerySet[Page]) -> None:
        for page in queryset.select_related("project"):
            actions.publish_page(get_actor(request), page)

    @action(description="Unpublish")
    def unpublish(self, request: HttpRequest, queryset: models.QuerySet[Page]) -> None:
        for page in queryset.select_related("project"):
            actions.unpublish_page(get_actor(request), page)
