"""The admin pages of comments."""

from __future__ import annotations

from django.contrib import admin
from django.db import models
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from accounts.admin.fields import FormValues
from accounts.admin.recorded import get_actor
from taskflow.admin.site import AutocompleteSelectFilter, display
from taskflow.audit.actor import Actor
from tasks.actions import comments as actions
from tasks.admin.rights import check_writer
from tasks.admin.trash import TrashableAdmin
from tasks.models import Comment
from tasks.rules import require_author, require_author_or_manager
from tasks.schemas.comments import CommentCreate


@admin.register(Comment)
class CommentAdmin(TrashableAdmin):
    schema = CommentCreate
    list_display = ["show_body", "show_task", "author", "created_at"]
    list_filter = [("author", AutocompleteSelectFilter)]
    list_filter_submit = True
    search_fields = ["body"]
    autocomplete_fields = ["task"]
    ordering = ["-id"]
    fields = ["task", "body"]
    actions = ["restore_selected", "purge_selected"]

    def check_view(self, request: HttpRequest) -> None:
        """Permit everybody."""

    def check_add(self, request: HttpRequest) -> None:
        check_writer(request, None)

    def check_change(self, request: HttpRequest, row: Comment | None) -> None:
        """Permit only the author, as update_comment() does."""
        check_writer(request, row.task.project if row else None)
        if row is not None:
            require_author(get_actor(request), row.author_id)

    def check_delete(self, request: HttpRequest, row: Comment | None) -> None:
        check_writer(request, row.task.project if row else None)
        if row is not None:
            require_author_or_manager(get_actor(request), row.task.project, row.author_id)

    def with_details(
        self, request: HttpRequest, rows: models.QuerySet[Comment]
    ) -> models.QuerySet[Comment]:
        return rows.select_related("task__project", "author")

    def get_readonly_fields(self, request: HttpRequest, obj: Comment | None = None) -> list[str]:
        return ["task"] if obj else []

    def create_row(self, actor: Actor, values: FormValues) -> Comment:
        return actions.create_comment(actor, values["task"], body=values["body"])

    def change_row(self, actor: Actor, row: Comment, values: FormValues) -> None:
        if "body" in values:  # otherwise the form was saved unchanged
            actions.update_comment(actor, row, body=values["body"])

    def delete_row(self, actor: Actor, row: Comment) -> None:
        actions.delete_comment(actor, row)

    @display(description=_("comment"), ordering="id")
    def show_body(self, comment: Comment) -> str:
        return str(comment)

    @display(description=_("task"), ordering="task__title", header=True)
    def show_task(self, comment: Comment) -> list[str]:
        return [comment.task.title, comment.task.key]
