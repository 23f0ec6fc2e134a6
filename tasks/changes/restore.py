"""Restore a task from the trash."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from taskflow.audit.actor import Actor
from taskflow.http.errors import Conflict
from tasks.changes.base import Needs, TaskChange
from tasks.changes.context import Context
from tasks.models import Task


@dataclass(eq=False)
class RestoreTask(TaskChange):
    """Restore a task with the subtasks that were deleted together with it.

    Restoring a task that is not in the trash changes nothing. If its parent has been moved to
    another project since, the task no longer has a parent. Raises Conflict if the parent is in the
    trash, or if the task is open and the parent has been completed since.
    """

    event = "restored"
    locks = ("deleted_at", "parent", "status")
    with_subtasks = True

    def needs(self, actor: Actor) -> Needs:
        return Needs(open_parent_id=self.task.parent_id)

    def check(self, task: Task, context: Context) -> None:
        parent = context.parent_of(task)
        if not (task.pk == self.task.pk and task.deleted_at and parent):
            return
        if parent.deleted_at:
            raise Conflict(
                f"The parent {parent.key} is in the trash. Restore the parent first.",
                code="parent_in_trash",
            )
        is_completed_since = parent.completed_at and parent.completed_at > task.deleted_at
        if is_completed_since and not task.completed and parent.project_id == task.project_id:
            context.check_parent_is_open(parent.pk)

    def apply(self, task: Task, context: Context) -> dict[str, Any]:
        deleted_at = context.stored[self.task.pk]["deleted_at"]
        if deleted_at is None or task.deleted_at != deleted_at:
            return {}
        parent = context.parent_of(task)
        is_elsewhere = parent is not None and parent.project_id != task.project_id
        return {"deleted_at": None} | ({"parent": None} if is_elsewhere else {})
