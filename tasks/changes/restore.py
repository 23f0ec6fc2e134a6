"""Restore a task from the trash."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from taskflow.audit.actor import Actor
from taskflow.http.errors import Conflict
from tasks.changes.base import ForcedChange, Needs
from tasks.changes.context import Context
from tasks.models import Task


@dataclass(eq=False)
class RestoreTask(ForcedChange):
    """Restore a task with the subtasks that were deleted together with it.

    Restoring a task that is not in the trash changes nothing. If its parent has been moved to
    another project since, the task no longer has a parent. Raises Conflict if the parent is in the
    trash, or if the task is open and the parent is done, unless `force` is set.
    """

    event = "restored"
    locks = ("deleted_at", "parent", "status")
    with_subtasks = True

    def needs(self, actor: Actor) -> Needs:
        return Needs(open_parent_id=None if self.force else self.task.parent_id)

    def check(self, task: Task, context: Context) -> None:
        parent = context.parent_of(task)
        if not (task.pk == self.task.pk and task.deleted_at and parent):
            return
        if parent.deleted_at:
            raise Conflict(
                f"The parent {parent.key} is in the trash. Restore the parent first.",
                code="parent_in_trash",
            )
        is_elsewhere = parent.project_id != task.project_id
        if not (task.completed or self.force or is_elsewhere):
            context.check_parent_is_open(parent.pk)

    def apply(self, task: Task, context: Context) -> dict[str, Any]:
        deleted_at = context.stored[self.task.pk]["deleted_at"]
        if deleted_at is None or task.deleted_at != deleted_at:
            return {}
        parent = context.parent_of(task)
        is_elsewhere = parent is not None and parent.project_id != task.project_id
        return {"deleted_at": None} | ({"parent": None} if is_elsewhere else {})
