"""Reopen a task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from taskflow.audit.actor import Actor
from tasks.changes.base import ForcedChange, Needs
from tasks.changes.complete import CANCELLED_EVENT
from tasks.changes.context import Context
from tasks.models import Outcome, Status, Task


@dataclass(eq=False)
class ReopenTask(ForcedChange):
    """Set the status of a done task to “to do”. Reopening an open task changes nothing.

    Raises Conflict if the parent of the task is done, unless `force` is set.
    """

    operation = "reopen"
    event = "reopened"
    sentence = "reopened the task"
    inverse = "completed"
    inverses_by_value: ClassVar = {("outcome", Outcome.CANCELLED.value): CANCELLED_EVENT}
    locks = ("status", "outcome", "completed_at", "parent")

    def needs(self, actor: Actor) -> Needs:
        return Needs(open_parent_id=None if self.force else self.task.parent_id)

    def check(self, task: Task, context: Context) -> None:
        if task.completed and not self.force:
            context.check_parent_is_open(task.parent_id)

    def apply(self, task: Task, context: Context) -> dict[str, object]:
        if not task.completed:
            return {}
        return {"status": Status.TODO, "outcome": None, "completed_at": None}
