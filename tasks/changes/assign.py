"""Assign a task to a user, or unassign it."""

from __future__ import annotations

from dataclasses import dataclass

from accounts.models import User
from taskflow.audit.actor import Actor
from taskflow.audit.values import FieldValues
from tasks.changes.base import Needs, TaskChange
from tasks.changes.context import Context
from tasks.models import Task


@dataclass(eq=False)
class AssignTask(TaskChange):
    """Assign a task to a user. Assigning it to its present assignee changes nothing.

    Raises Invalid if the user is deactivated or cannot see the project.
    """

    assignee: User

    operation = "assign"
    event = "assigned"
    sentence = "assigned the task to {assignee}"
    locks = ("assignee",)

    @classmethod
    def build(cls, task: Task, values: FieldValues, *, force: bool) -> TaskChange:
        assignee = values["assignee"]
        return cls(task, assignee) if assignee else UnassignTask(task)

    def needs(self, actor: Actor) -> Needs:
        return Needs(assignee=self.assignee)

    def check(self, task: Task, context: Context) -> None:
        if self.assignee.pk != task.assignee_id:
            context.check_assignee(self.assignee, task.project)

    def apply(self, task: Task, context: Context) -> dict[str, object]:
        return {"assignee": self.assignee}


@dataclass(eq=False)
class UnassignTask(TaskChange):
    """Remove the assignee of a task. A task without an assignee is not changed."""

    event = "unassigned"
    sentence = "unassigned {assignee} from the task"
    locks = ("assignee",)

    def apply(self, task: Task, context: Context) -> dict[str, object]:
        return {"assignee": None}
