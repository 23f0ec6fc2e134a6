"""The admin pages of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.contrib import admin
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy, ngettext

from accounts.admin.fields import FormValues
from accounts.admin.recorded import get_actor
from taskflow.admin.empty import EMPTY
from taskflow.admin.site import AutocompleteSelectFilter, action, display
from taskflow.admin.times import show_day, show_time
from taskflow.audit.actor import Actor
from taskflow.audit.event_log import capture_events
from tasks.admin.bulk.page import BulkTaskList
from tasks.admin.colors import PRIORITY_COLORS, STATUS_COLORS
from tasks.admin.done import report_done
from tasks.admin.rights import check_writer
from tasks.admin.task_page.form import TaskForm, change_blocks, to_action_values
from tasks.admin.task_page.pages import TaskPageAdmin
from tasks.changes import tasks as actions
from tasks.changes.base import TaskChange
from tasks.changes.complete import CompleteTask
from tasks.changes.planner import change_tasks
from tasks.changes.reopen import ReopenTask
from tasks.models import Outcome, Priority, Status, Task
from tasks.schemas.tasks import TaskCreate


@admin.register(Task)
class TaskAdmin(BulkTaskList, TaskPageAdmin):
    schema = TaskCreate
    form = TaskForm
    action_field_names = {"labels": "tags", "blockers": "blocked_by"}
    list_display = [
        "show_title",
        "project",
        "show_status",
        "show_priority",
        "assignee",
        "show_due",
        "updated_at",
    ]
    list_filter = [
        "status",
        "outcome",
        "priority",
        ("project", AutocompleteSelectFilter),
        ("assignee", AutocompleteSelectFilter),
    ]
    list_filter_submit = True
    list_select_related = ["project", "assignee"]
    search_fields = ["title", "external_ref"]
    autocomplete_fields = ["project", "assignee", "parent"]
    ordering = ["-id"]
    actions = ["complete", "complete_anyway", "reopen", "restore_selected", "purge_selected"]
    fields = [
        ("project", "title"),
        ("status", "outcome"),
        ("priority", "assignee"),
        "parent",
        "labels",
        "blockers",
        "blocks",
        "due_at",
        "description",
        "external_ref",
        "links",
        "metadata",
    ]

    def check_view(self, request: HttpRequest) -> None:
        """Permit everybody."""

    def check_add(self, request: HttpRequest) -> None:
        check_writer(request, None)

    def check_change(self, request: HttpRequest, row: Task | None) -> None:
        check_writer(request, row.project if row else None)

    def check_delete(self, request: HttpRequest, row: Task | None) -> None:
        check_writer(request, row.project if row else None)

    def to_columns(self, values: FormValues) -> FormValues:
        """Return the values with the two columns of the field `due_at`."""
        if "due_at" not in values:
            return values
        due = values.pop("due_at")
        is_time = isinstance(due, datetime)
        columns = {"due_date": due if is_time else None, "due_on": None if is_time else due}
        return values | columns

    def create_row(self, actor: Actor, values: FormValues) -> Task:
        blocked = values.pop("blocks", None)
        task = actions.create_task(actor, values.pop("project"), **to_action_values(values))
        change_blocks(actor, task, blocked)
        return task

    def change_row(self, actor: Actor, row: Task, values: FormValues) -> None:
        blocked = values.pop("blocks", None)
        if project := values.pop("project", None):
            actions.move_task(actor, row, project)
        actions.update_task(actor, row, **to_action_values(values))
        change_blocks(actor, row, blocked)

    def response_add(
        self, request: HttpRequest, obj: Task, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Return to the list, or with “Save and add another” to a new task of the project."""
        response = super().response_add(request, obj, post_url_continue)
        if "_addanother" in request.POST and isinstance(response, HttpResponseRedirect):
            return HttpResponseRedirect(f"{request.path}?project={obj.project_id}")
        return response

    def delete_row(self, actor: Actor, row: Task) -> None:
        actions.delete_task(actor, row)

    @display(description=gettext_lazy("task"), ordering="title", header=True)
    def show_title(self, task: Task) -> list[str]:
        return [task.title, task.key]

    @display(description=gettext_lazy("status"), ordering="status", label=STATUS_COLORS)
    def show_status(self, task: Task) -> tuple[str, str | Promise]:
        if task.outcome == Outcome.CANCELLED:
            return task.outcome, Outcome.CANCELLED.label
        return task.status, Status(task.status).label

    @display(description=gettext_lazy("priority"), ordering="priority_rank", label=PRIORITY_COLORS)
    def show_priority(self, task: Task) -> tuple[str, str | Promise]:
        return task.priority, Priority(task.priority).label

    @display(description=gettext_lazy("due"), ordering="due")
    def show_due(self, task: Task) -> str:
        if task.due_date:
            return show_time(task.due_date)
        return show_day(task.due_on) if task.due_on else EMPTY

    @action(description=gettext_lazy("Complete"))
    def complete(self, request: HttpRequest, queryset: models.QuerySet[Task]) -> None:
        _change_all(request, [CompleteTask(task) for task in _load(queryset)])

    @action(description=gettext_lazy("Complete, even with open subtasks or blockers"))
    def complete_anyway(self, request: HttpRequest, queryset: models.QuerySet[Task]) -> None:
        _change_all(request, [CompleteTask(task, force=True) for task in _load(queryset)])

    @action(description=gettext_lazy("Reopen"))
    def reopen(self, request: HttpRequest, queryset: models.QuerySet[Task]) -> None:
        _change_all(request, [ReopenTask(task) for task in _load(queryset)])


def _load(queryset: models.QuerySet[Task]) -> models.QuerySet[Task]:
    return queryset.select_related("project", "assignee")


def _change_all(request: HttpRequest, changes: Sequence[TaskChange]) -> None:
    """Make all changes or none, and say how many tasks have changed, with a link to undo it.

    Raises the problem of the first that is refused.
    """
    with capture_events() as events:
        change_tasks(get_actor(request), changes)
    count = len({event.subject_id for event in events})
    report_done(
        request,
        ngettext("%(n)d task is changed.", "%(n)d tasks are changed.", count) % {"n": count},
    )
