"""What the page changes of each task, as the changes that the API makes for a bulk request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from accounts.models import User
from tasks.changes.base import TaskChange
from tasks.changes.delete import DeleteTask
from tasks.changes.move import MoveTask
from tasks.changes.tag import TagTask, UntagTask
from tasks.changes.update import UpdateTask
from tasks.models import Outcome, Project, Status, Task


@dataclass(frozen=True)
class BulkEdit:
    """The same changes for many tasks. What is None or empty stays as it is."""

    is_deletion: bool = False
    project: Project | None = None
    assignee: User | None = None
    is_unassigned: bool = False
    status: str | None = None  # a Status, or the outcome `cancelled`
    priority: str | None = None
    due_on: date | None = None
    is_due_removed: bool = False
    added_tags: Sequence[str] = ()
    removed_tags: Sequence[str] = ()
    force: bool = False  # complete in spite of open subtasks and blockers

    def changes_of(self, task: Task) -> list[TaskChange]:
        """Return the changes of one task in the order in which they are made.

        A move comes first: the assignee has to be a member of the new project.
        """
        if self.is_deletion:
            return [DeleteTask(task)]
        changes: list[TaskChange] = [MoveTask(task, self.project)] if self.project else []
        if self.assignee or self.is_unassigned:
            changes.append(UpdateTask.build(task, {"assignee": self.assignee}, force=False))
        if values := self._values():
            changes.append(UpdateTask.build(task, values, force=self.force))
        if self.removed_tags:
            changes.append(UntagTask(task, self.removed_tags))
        if self.added_tags:
            changes.append(TagTask(task, self.added_tags))
        return changes

    def _values(self) -> dict[str, object]:
        """Return the new values of the other fields."""
        values: dict[str, object] = {"priority": self.priority} if self.priority else {}
        if self.status == Outcome.CANCELLED:
            values |= {"status": Status.DONE, "outcome": Outcome.CANCELLED}
        elif self.status:
            values["status"] = Status(self.status)
        if self.due_on or self.is_due_removed:
            values |= {"due_on": self.due_on, "due_date": None}
        return values
