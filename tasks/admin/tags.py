"""The admin pages of tags."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import models
from django.db.models import Count, Q
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.admin.fields import FormValues
from accounts.admin.recorded import RecordedAdmin, get_actor
from accounts.rules import require_unbound
from taskflow.admin.site import display
from taskflow.audit.actor import Actor
from tasks.actions import tags as actions
from tasks.models import Project, Tag, Task
from tasks.schemas.tags import TagCreate


@admin.register(Tag)
class TagAdmin(RecordedAdmin):
    schema = TagCreate
    list_display = ["name", "color", "show_tasks", "updated_at"]
    search_fields = ["name"]
    ordering = ["name"]
    fields = [("name", "color")]

    def check_view(self, request: HttpRequest) -> None:
        """Permit everybody. Only administrators change and delete tags."""

    def check_add(self, request: HttpRequest) -> None:
        require_unbound(get_actor(request), "tags")

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Tag]:
        """Return all tags. Their tasks are counted among those that the user can see."""
        viewer = get_actor(request).viewer
        projects = Project.objects.visible_to(viewer).values("pk")
        counted = None if viewer.is_staff else Q(tasks__project__in=projects)
        return Tag.objects.annotate(task_count=Count("tasks", filter=counted))

    def count_to_delete(self, ids: list[int]) -> dict[str, int]:
        losing = Task.everything.filter(tags__in=ids).distinct()
        outside = losing.filter(pk__in=Task.objects.outside_trash()).count()
        counts = {
            gettext("tasks that stay but lose a tag"): outside,
            gettext("tasks in the trash that lose a tag"): losing.count() - outside,
        }
        return super().count_to_delete(ids) | {name: n for name, n in counts.items() if n}

    def describe_restoration(self) -> str:
        return gettext(
            "Tags have no trash. To take the deletion back, use “Undo…” in the list of events: it"
            " creates the tag again and gives it back to these tasks."
        )

    def create_row(self, actor: Actor, values: FormValues) -> Tag:
        return actions.create_tag(actor, **values)

    def change_row(self, actor: Actor, row: Tag, values: FormValues) -> None:
        actions.update_tag(actor, row, **values)

    def delete_row(self, actor: Actor, row: Tag) -> None:
        actions.delete_tag(actor, row)

    @display(description=_("tasks"))
    def show_tasks(self, tag: Any) -> int:
        count: int = tag.task_count
        return count
