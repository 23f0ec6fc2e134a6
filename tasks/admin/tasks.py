"""The admin pages of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.contrib.admin.widgets import AutocompleteSelectMultiple
from django.db import models
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import ngettext

from accounts.admin.fields import FormValues, RowMultipleChoiceField
from accounts.admin.forms import RecordedForm
from accounts.admin.recorded import get_actor
from taskflow.admin.site import AutocompleteSelectFilter, action, display
from taskflow.audit.actor import Actor
from taskflow.audit.event_log import capture_events
from tasks.admin.bulk.page import BulkTaskList
from tasks.admin.colors import PRIORITY_COLORS, STATUS_COLORS
from tasks.admin.done import report_done
from tasks.admin.links import LinksField
from tasks.admin.rights import check_writer
from tasks.admin.task_page.pages import TaskPageAdmin
from tasks.changes import tasks as actions
from tasks.changes.base import TaskChange
from tasks.changes.complete import CompleteTask
from tasks.changes.planner import change_tasks
from tasks.changes.reopen import ReopenTask
from tasks.models import Outcome, Priority, Status, Tag, Task
from tasks.schemas.tasks import TaskCreate

OUTCOME_HELP = "Only for done tasks. Without one, a done task is completed."


class TaskForm(RecordedForm):
    # Named differently from the model's fields: Django's admin refuses a many-to-many field with a
    # model of its own as its intermediate table.
    labels: Any = RowMultipleChoiceField(
        queryset=None,
        label="Tags",
        required=False,
        widget=AutocompleteSelectMultiple(Task._meta.get_field("tags"), admin.site),
    )

    blockers: Any = RowMultipleChoiceField(
        queryset=None,
        label="Blocked by",
        required=False,
        widget=AutocompleteSelectMultiple(Task._meta.get_field("blocked_by"), admin.site),
    )

    links: Any = LinksField(required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        visible = Task.objects.outside_trash().visible_to(self.viewer)
        rows = {"labels": Tag.objects.all(), "blockers": visible}
        model_fields = {"labels": "tags", "blockers": "blocked_by"}
        if "outcome" in self.fields:
            self.fields["outcome"].help_text = OUTCOME_HELP
        for name in rows.keys() & self.fields.keys():
            self.fields[name].queryset = rows[name]  # type: ignore[attr-defined]
            if self.instance.pk:
                links = getattr(self.instance, model_fields[name])
                self.fields[name].initial = list(links.filter(pk__in=rows[name]))
        self.hidden_blockers = self._find_hidden_blockers(visible)

    def _find_hidden_blockers(self, visible: models.QuerySet[Task]) -> list[Task]:
        """Return the blockers in projects that the user cannot see, which an edit keeps."""
        if not self.instance.pk or self.viewer.is_staff or "blockers" not in self.fields:
            return []
        present = self.instance.blocked_by.filter(pk__in=Task.objects.outside_trash())
        return list(present.exclude(pk__in=visible.values("pk")))

    def clean_blockers(self) -> list[Task]:
        return [*self.cleaned_data["blockers"], *self.hidden_blockers]

    def clean(self) -> FormValues:
        """Give a done task the outcome `completed` if none is selected.

        A task that is reopened loses an outcome that the user has not edited. Otherwise the
        constraint of the model would be reported in place of the action's reason.
        """
        cleaned = super().clean()
        if "outcome" not in cleaned:
            return cleaned
        if cleaned.get("status") == Status.DONE:
            cleaned["outcome"] = cleaned["outcome"] or Outcome.COMPLETED
        elif "outcome" not in self.changed_data:
            cleaned["outcome"] = None
        elif cleaned["outcome"]:
            self.add_error("outcome", "An open task has no outcome. Set the status to done.")
        return cleaned

    def clean_external_ref(self) -> str | None:
        return self.cleaned_data["external_ref"] or None


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
        "due_on",
        "due_date",
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

    def create_row(self, actor: Actor, values: FormValues) -> Task:
        return actions.create_task(actor, values.pop("project"), **to_action_values(values))

    def change_row(self, actor: Actor, row: Task, values: FormValues) -> None:
        if project := values.pop("project", None):
            actions.move_task(actor, row, project)
        actions.update_task(actor, row, **to_action_values(values))

    def delete_row(self, actor: Actor, row: Task) -> None:
        actions.delete_task(actor, row)

    @display(description="task", ordering="title", header=True)
    def show_title(self, task: Task) -> list[str]:
        return [task.title, task.key]

    @display(description="status", ordering="status", label=STATUS_COLORS)
    def show_status(self, task: Task) -> tuple[str, str]:
        if task.outcome == Outcome.CANCELLED:
            return task.outcome, Outcome.CANCELLED.label
        return task.status, Status(task.status).label

    @display(description="priority", ordering="priority_rank", label=PRIORITY_COLORS)
    def show_priority(self, task: Task) -> tuple[str, str]:
        return task.priority, Priority(task.priority).label

    @display(description="due", ordering="due")
    def show_due(self, task: Task) -> str:
        if task.due_date:
            return f"{timezone.localtime(task.due_date):%Y-%m-%d %H:%M %Z}"
        return f"{task.due_on:%Y-%m-%d}" if task.due_on else "–"

    @action(description="Complete")
    def complete(self, request: HttpRequest, queryset: models.QuerySet[Task]) -> None:
        _change_all(request, [CompleteTask(task) for task in _load(queryset)])

    @action(description="Complete, even with open subtasks or blockers")
    def complete_anyway(self, request: HttpRequest, queryset: models.QuerySet[Task]) -> None:
        _change_all(request, [CompleteTask(task, force=True) for task in _load(queryset)])

    @action(description="Reopen")
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


def to_action_values(values: FormValues) -> FormValues:
    """Rename the form's values to the parameters of the actions, and give tags by name."""
    if "labels" in values:
        values["tags"] = [tag.name for tag in values.pop("labels")]
    if "blockers" in values:
        values["blocked_by"] = list(values.pop("blockers"))
    return values
