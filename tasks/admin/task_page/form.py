"""The form of a task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.contrib.admin.widgets import AutocompleteSelectMultiple
from django.db.models import QuerySet
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.admin.fields import FormValues
from accounts.admin.forms import RecordedForm
from taskflow.audit.actor import Actor
from taskflow.http.converters import is_id
from tasks.admin.dates import DayOrTimeField
from tasks.admin.labels import LabelledMultipleChoiceField, label_of
from tasks.admin.links import LinksField
from tasks.admin.task_page.tags import TagsField
from tasks.changes.blocking import change_blocked_tasks
from tasks.models import Outcome, Status, Task

OUTCOME_HELP = _("Only for done tasks. Without one, a done task is completed.")


@dataclass(frozen=True)
class BlockedTasks:
    """How the tasks that the task blocks were edited since the form was opened."""

    added: list[Task]
    removed: list[Task]


class TaskForm(RecordedForm):
    # Named differently from the model's fields: Django's admin refuses a many-to-many field with a
    # model of its own as its intermediate table, and a column that the database computes.
    labels: Any = TagsField()
    blockers: Any = LabelledMultipleChoiceField(
        queryset=None,
        label=_("Blocked by"),
        required=False,
        widget=AutocompleteSelectMultiple(Task._meta.get_field("blocked_by"), admin.site),
    )
    # The form has a hidden copy of what it showed. The links belong to the other tasks, so that no
    # version of this task tells which of them others have changed since.
    blocks: Any = LabelledMultipleChoiceField(
        queryset=None,
        label=_("Blocks"),
        required=False,
        show_hidden_initial=True,
        widget=AutocompleteSelectMultiple(Task._meta.get_field("blocked_by"), admin.site),
    )
    due_at: Any = DayOrTimeField(label=_("Due"))
    links: Any = LinksField(required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "outcome" in self.fields:
            self.fields["outcome"].help_text = OUTCOME_HELP
        tasks = Task.objects.visible_to(self.viewer).outside_trash().select_related("project")
        self.hidden_blockers = self._find_hidden_blockers(tasks)
        for name in ("parent", "blockers", "blocks"):
            if name in self.fields:
                field: Any = self.fields[name]
                field.queryset = tasks
        for name in ("parent", "project"):
            if name in self.fields:
                field = self.fields[name]
                field.label_from_instance = label_of
        if self.instance.pk:
            self._set_initial(self.instance)

    def _find_hidden_blockers(self, visible: QuerySet[Task]) -> list[int]:
        """Return the ids of blockers that the user cannot see, which an edit keeps."""
        if not self.instance.pk or self.viewer.is_staff or "blockers" not in self.fields:
            return []
        present = Task.objects.outside_trash().filter(blocking=self.instance)
        return list(present.exclude(pk__in=visible.values("pk")).values_list("pk", flat=True))

    def clean_blockers(self) -> QuerySet[Task]:
        """Return the chosen blockers and the hidden ones, as rows that compare with the log."""
        chosen = [task.pk for task in self.cleaned_data["blockers"]]
        rows = Task.objects.filter(pk__in=[*chosen, *self.hidden_blockers])
        return rows.select_related("project").order_by("pk")

    def _set_initial(self, task: Task) -> None:
        tasks = Task.objects.visible_to(self.viewer).outside_trash().select_related("project")
        initial: dict[str, Callable[[], object]] = {
            "labels": lambda: [tag.name for tag in task.tags.order_by("name_folded")],
            "blockers": lambda: list(tasks.filter(blocking=task)),
            "blocks": lambda: list(tasks.filter(blocked_by=task)),
            "due_at": lambda: task.due_date or task.due_on,
        }
        for name in initial.keys() & self.fields.keys():
            self.initial[name] = initial[name]()

    def clean(self) -> FormValues:
        cleaned = super().clean()
        self._clean_outcome(cleaned)
        if "blocks" in cleaned:
            cleaned["blocks"] = self._compare_blocked_tasks(list(cleaned["blocks"]))
        return cleaned

    def _clean_outcome(self, cleaned: FormValues) -> None:
        """Give a done task the outcome `completed` if none is selected.

        A task that is reopened loses an outcome that the user has not edited. Otherwise the
        constraint of the model would be reported in place of the action's reason.
        """
        if "outcome" not in cleaned:
            return
        if cleaned.get("status") == Status.DONE:
            cleaned["outcome"] = cleaned["outcome"] or Outcome.COMPLETED
        elif "outcome" not in self.changed_data:
            cleaned["outcome"] = None
        elif cleaned["outcome"]:
            self.add_error(
                "outcome", gettext("An open task has no outcome. Set the status to done.")
            )

    def _compare_blocked_tasks(self, chosen: list[Task]) -> BlockedTasks:
        """Return what the user has added and removed, compared with what the form showed."""
        sent: Any = self.data  # a QueryDict
        shown = {int(t) for t in sent.getlist(self.add_initial_prefix("blocks")) if is_id(t)}
        removed = shown - {task.pk for task in chosen}
        return BlockedTasks(
            added=[task for task in chosen if task.pk not in shown],
            removed=list(self.fields["blocks"].queryset.filter(pk__in=removed)),  # type: ignore[attr-defined]
        )

    def clean_external_ref(self) -> str | None:
        return self.cleaned_data["external_ref"] or None


def to_action_values(values: FormValues) -> FormValues:
    """Rename the form's values to the parameters of the actions, and give tags by name.

    The tasks that the task blocks are no parameter: change_row() removes them first.
    """
    if "labels" in values:
        tags = values.pop("labels")
        values["tags"] = [tag if isinstance(tag, str) else tag.name for tag in tags]
    if "blockers" in values:
        values["blocked_by"] = list(values.pop("blockers"))
    return values


def change_blocks(actor: Actor, task: Task, blocked: BlockedTasks | None) -> None:
    """Change the tasks that the task blocks as the form says; None if it was not edited."""
    if blocked is not None:
        change_blocked_tasks(actor, task, add=blocked.added, remove=blocked.removed)
