"""Move a task to another project."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from taskflow.audit.actor import Actor
from tasks.changes.base import Needs, TaskChange
from tasks.changes.context import Context
from tasks.models import Project, Task


@dataclass(eq=False)
class MoveTask(TaskChange):
    """Move a task and its subtasks to another project, where they get new numbers.

    The old keys still find them. A subtask leaves its parent, and an assignee who cannot see the
    other project is unassigned. Raises Conflict when an external_ref is taken there.
    """

    project: Project

    operation = "move"
    event = "moved"
    sentence = "moved the task to {project}"
    inverse = "moved"
    locks = ("project", "number", "parent", "assignee", "external_ref")
    with_subtasks = True

    @classmethod
    def build(cls, task: Task, values: Mapping[str, Any], *, force: bool) -> TaskChange:
        return cls(task, values["project"])

    def needs(self, actor: Actor) -> Needs:
        return Needs(project=self.project, serializes=True)

    def check(self, task: Task, context: Context) -> None:
        context.check_member(self.project)
        if task.project_id != self.project.pk:
            context.check_ref(task, self.project, task.external_ref)

    def apply(self, task: Task, context: Context) -> dict[str, Any]:
        """The planner sets the number when all changes of the request are known."""
        if task.project_id == self.project.pk:
            return {}
        values: dict[str, Any] = {"project": self.project, "number": None}
        if task.pk == self.task.pk and task.parent_id:
            values["parent"] = None
        if task.assignee and not context.can_see(task.assignee, self.project):
            values["assignee"] = None
        return values
