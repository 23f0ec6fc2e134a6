"""The admin pages of tags."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import models
from django.db.models import Count
from django.http import HttpRequest

from accounts.admin.fields import FormValues
from accounts.admin.recorded import RecordedAdmin
from taskflow.admin.site import display
from taskflow.audit.actor import Actor
from tasks.actions import tags as actions
from tasks.models import Tag
from tasks.schemas.tags import TagCreate


@admin.register(Tag)
class TagAdmin(RecordedAdmin):
    schema = TagCreate
    list_display = ["name", "color", "show_tasks", "updated_at"]
    search_fields = ["name"]
    ordering = ["name"]
    fields = [("name", "color")]

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Tag]:
        return Tag.objects.annotate(task_count=Count("tasks"))

    def create_row(self, actor: Actor, values: FormValues) -> Tag:
        return actions.create_tag(actor, **values)

    def change_row(self, actor: Actor, row: Tag, values: FormValues) -> None:
        actions.update_tag(actor, row, **values)

    def delete_row(self, actor: Actor, row: Tag) -> None:
        actions.delete_tag(actor, row)

    @display(description="tasks")
    def show_tasks(self, tag: Any) -> int:
        count: int = tag.task_count
        return count
