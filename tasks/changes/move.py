"""Move a task to another project."""

from __future__ import annotations

from dataclasses import dataclass

from taskflow.audit.actor import Actor
from taskflow.audit.values import FieldValues
from tasks.changes.base import Needs, TaskChange
from tasks.changes.context import Context
from tasks.models import Project, Task


@dataclass(eq=False)
class MoveTask(TaskChange):
    """Move a task and its subtasks to another project, where they get new numbers.

    Their old keys still find them. A moved subtask no longer has a parent, and an assignee who
    cannot see the new project is unassigned. Raises Forbidden if the actor may not write in the
    new project, and Conflict if another task there has the same external_ref.
    """

    project: Project

    operation = "move"
    event = "moved"
    sentence = "moved the task to {project}"
    inverse = "moved"
    locks = ("project", "number", "parent", "assignee", "external_ref")
    with_subtasks = True

    @classmethod
    def build(cls, task: Task, values: FieldValues, *, force: bool) -> TaskChange:
        return cls(task, values["project"])

    def needs(self, actor: Actor) -> Needs:
        return Needs(project=self.project, graph_lock=True)

    def check(self, task: Task, context: Context) -> None:
        context.check_can_write(self.project)
        if task.project_id != self.project.pk:
            context.check_external_ref(task, self.project, task.external_ref)

    def apply(self, task: Task, context: Context) -> dict[str, object]:
        """Return the new values. The planner sets `number` after it has checked all changes."""
        if task.project_id == self.project.pk:
            return {}
        values: dict[str, object] = {"project": self.project, "number": None}
        if task.pk == self.task.pk and task.parent_id:
            values["parent"] = None
        if task.assignee and not context.can_see(task.assignee, self.project):
            values["assignee"] = None
        return values
