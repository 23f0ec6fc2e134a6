"""Reopen a task."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.changes.base import TaskChange
from tasks.changes.context import Context
from tasks.models import Status, Task


@dataclass(eq=False)
class ReopenTask(TaskChange):
    """Set the status of a done task to “to do”. Reopening an open task changes nothing."""

    operation = "reopen"
    event = "reopened"
    sentence = "reopened the task"
    inverse = "completed"
    locks = ("status", "completed_at")

    def apply(self, task: Task, context: Context) -> dict[str, object]:
        return {"status": Status.TODO, "completed_at": None} if task.completed else {}
