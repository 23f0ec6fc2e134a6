"""Move a task to the trash."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.changes.base import TaskChange
from tasks.changes.context import Context
from tasks.models import Task


@dataclass(eq=False)
class DeleteTask(TaskChange):
    """Move a task and its subtasks to the trash. They can be restored together."""

    operation = "delete"
    event = "deleted"
    locks = ("deleted_at", "parent")
    with_subtasks = True

    def apply(self, task: Task, context: Context) -> dict[str, object]:
        return {"deleted_at": context.now}
