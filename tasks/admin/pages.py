"""The admin pages of pages."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from accounts.admin.fields import FormValues
from accounts.admin.recorded import get_actor
from taskflow.admin.site import AutocompleteSelectFilter, action, display
from taskflow.audit.actor import Actor
from tasks.actions import pages as actions
from tasks.admin.done import report_done
from tasks.admin.rendered import RenderedAdmin
from tasks.admin.rights import check_writer
from tasks.admin.task_page.base import find_refusal, show_refusal
from tasks.models import Page
from tasks.rules import require_author_or_manager
from tasks.schemas.pages import PageCreate

STATE_COLORS = {"published": "success", "draft": "warning"}


@admin.register(Page)
class PageAdmin(RenderedAdmin):
    schema = PageCreate
    rendered_field = "body"
    change_form_outer_before_template = "admin/page_head.html"
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

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(require_POST(self.publication_view))
        name = "tasks_page_publication"
        return [path("<int:page_id>/publication/", view, name=name), *super().get_urls()]

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

    @display(description=_("state"), ordering="is_published", label=STATE_COLORS)
    def show_state(self, page: Page) -> tuple[str, Promise]:
        return ("published", _("Published")) if page.is_published else ("draft", _("Draft"))

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        page = kwargs.get("obj")
        context["can_publish"] = page is not None and self.has_change_permission(request, page)
        return super().render_change_form(request, context, *args, **kwargs)

    def publication_view(self, request: HttpRequest, page_id: int) -> HttpResponse:
        """Publish the page, or unpublish it (POST with `unpublish`), and show it again."""
        page = self.get_object(request, str(page_id))
        if not self.has_change_permission(request, page):
            raise PermissionDenied
        is_end = "unpublish" in request.POST
        act = actions.unpublish_page if is_end else actions.publish_page
        if problem := find_refusal(lambda: act(get_actor(request), page)):
            show_refusal(request, problem)
        else:
            text = _("“%s” is a draft again.") if is_end else _("“%s” is published.")
            report_done(request, text % page.title)
        return HttpResponseRedirect(reverse("admin:tasks_page_change", args=[page.pk]))

    @action(description=_("Publish"))
    def publish(self, request: HttpRequest, queryset: models.QuerySet[Page]) -> None:
        for page in queryset.select_related("project"):
            actions.publish_page(get_actor(request), page)

    @action(description=_("Unpublish"))
    def unpublish(self, request: HttpRequest, queryset: models.QuerySet[Page]) -> None:
        for page in queryset.select_related("project"):
            actions.unpublish_page(get_actor(request), page)
