"""Complete a task."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar

from taskflow.audit.values import FieldValues
from tasks.changes.base import ForcedChange, TaskChange
from tasks.changes.context import Context
from tasks.models import Outcome, Status, Task

CANCELLED_EVENT = "cancelled"  # recorded as task.cancelled


@dataclass(eq=False)
class CompleteTask(ForcedChange):
    """Set a task to done, with the outcome `completed` unless another one is given.

    Completing a done task sets the outcome if one is given, and otherwise changes nothing. Raises
    Conflict with a list of the open subtasks and blockers if there are any, unless `force` is set.
    """

    operation = "complete"
    event = "completed"
    sentence = "completed the task"
    inverse = "reopened"
    other_sentences: ClassVar = {CANCELLED_EVENT: "cancelled the task"}
    locks = ("status", "outcome", "completed_at")

    outcome: str | None = field(default=None, kw_only=True)  # None: completed, or the present one

    @classmethod
    def build(cls, task: Task, values: FieldValues, *, force: bool) -> TaskChange:
        return cls(task, outcome=values.get("outcome"), force=force)

    @property
    def completes(self) -> bool:
        return True

    def event_for(self, task: Task) -> str:
        return self.event_of_outcome(self.outcome) if not task.completed else "changed"

    @classmethod
    def event_of_outcome(cls, outcome: str | None) -> str:
        """Return the verb for a task that becomes done with this outcome. None is `completed`."""
        return CANCELLED_EVENT if outcome == Outcome.CANCELLED else cls.event

    def check(self, task: Task, context: Context) -> None:
        if not (task.completed or self.force):
            context.check_no_open_work(task)

    def apply(self, task: Task, context: Context) -> dict[str, object]:
        if task.completed:
            return {"outcome": self.outcome} if self.outcome else {}
        return self.values_at(context.now, self.outcome or Outcome.COMPLETED)

    @staticmethod
    def values_at(completed_at: datetime, outcome: str = Outcome.COMPLETED) -> dict[str, object]:
        """Return the values of a task that became done at this time (UTC), with this outcome."""
        return {"status": Status.DONE, "outcome": outcome, "completed_at": completed_at}
