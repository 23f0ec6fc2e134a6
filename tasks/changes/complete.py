"""Complete a task."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from tasks.changes.base import ForcedChange
from tasks.changes.context import Context
from tasks.models import Status, Task


@dataclass(eq=False)
class CompleteTask(ForcedChange):
    """Set a task to done. Completing a done task changes nothing.

    Raises Conflict with a list of the open subtasks and blockers if there are any, unless `force`
    is set.
    """

    operation = "complete"
    event = "completed"
    sentence = "completed the task"
    inverse = "reopened"
    locks = ("status", "completed_at")

    @property
    def completes(self) -> bool:
        return True

    def check(self, task: Task, context: Context) -> None:
        if not (task.completed or self.force):
            context.check_no_open_work(task)

    def apply(self, task: Task, context: Context) -> dict[str, object]:
        return {} if task.completed else self.values_at(context.now)

    @staticmethod
    def values_at(completed_at: datetime) -> dict[str, object]:
        """Return the values of a task that was completed at this time (UTC)."""
        return {"status": Status.DONE, "completed_at": completed_at}
