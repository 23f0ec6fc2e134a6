"""Update the fields of a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from taskflow.audit.actor import Actor
from tasks.changes.assign import AssignTask
from tasks.changes.base import NOTHING, ForcedChange, Needs, TaskChange
from tasks.changes.complete import CompleteTask
from tasks.changes.context import BOTH_DUE, Context, check_tag_count
from tasks.changes.reopen import ReopenTask
from tasks.models import Status, Task

DUE = ("due_date", "due_on")
# Columns that a field is checked against, or that follow from it.
RELATED_COLUMNS = {"status": CompleteTask.locks, "due_date": DUE, "due_on": DUE}
LOADED_FOR = frozenset({"assignee", "blocked_by", "parent", "external_ref", "tags"})
LINKS = frozenset({"tags", "blocked_by"})  # many-to-many: the recorder locks and compares them


@dataclass(eq=False)
class UpdateTask(ForcedChange):
    """Set the given fields and no others. `tags` and `blocked_by` replace all that the task has.

    An update that sets a task to done is checked and recorded as CompleteTask; one that sets a done
    task to another status is recorded as ReopenTask.
    """

    sent: Mapping[str, Any]

    operation = "update"

    @classmethod
    def build(cls, task: Task, values: Mapping[str, Any], *, force: bool) -> TaskChange:
        """An update of nothing but the assignee, or to done, is the change of that name."""
        if values.keys() == {"assignee"}:
            return AssignTask.build(task, values, force=force)
        if values == {"status": Status.DONE}:
            return CompleteTask(task, force=force)
        return cls(task, values, force=force)

    @property
    def values(self) -> Mapping[str, Any]:
        return self.sent

    def needs(self, actor: Actor) -> Needs:
        if self.sent.keys().isdisjoint(LOADED_FOR):
            return NOTHING
        return Needs(
            assignee=self.sent.get("assignee"),
            blockers=self.sent.get("blocked_by", ()),
            parent=self.sent.get("parent"),
            external_ref=self.sent.get("external_ref"),
            tag_names=self.sent.get("tags", ()),
            serializes=bool(self.sent.get("blocked_by")),
        )

    def columns(self) -> Sequence[str]:
        related = [name for n in self.sent for name in RELATED_COLUMNS.get(n, ())]
        return [*(self.sent.keys() - LINKS), *related]

    def event_of(self, task: Task) -> str:
        status = self.sent.get("status")
        if status == Status.DONE and not task.completed:
            return CompleteTask.event
        if status not in (None, Status.DONE) and task.completed:
            return ReopenTask.event
        return self.event

    def check(self, task: Task, context: Context) -> None:
        sent = self.sent
        if sent.get("assignee") and sent["assignee"].pk != task.assignee_id:
            context.check_assignee(sent["assignee"], task.project)
        if sent.get("parent") and sent["parent"].pk != task.parent_id:
            context.check_parent(task, sent["parent"])
        if "blocked_by" in sent:
            context.check_blockers(task, sent["blocked_by"])
        if sent.keys() & {*DUE}:
            self._check_due(task)
        if "tags" in sent:
            check_tag_count(len({name.lower() for name in sent["tags"]}))
        if "external_ref" in sent:
            context.check_ref(task, task.project, sent["external_ref"])
        if sent.get("status") == Status.DONE and not (task.completed or self.force):
            context.check_no_open_work(task, blockers=sent.get("blocked_by"))

    def _check_due(self, task: Task) -> None:
        if self.sent.get("due_date", task.due_date) and self.sent.get("due_on", task.due_on):
            raise BOTH_DUE

    def apply(self, task: Task, context: Context) -> dict[str, Any]:
        values = dict(self.sent)
        if "tags" in values:
            values["tags"] = context.find_tags(values["tags"])
        if "status" in values and values["status"] != task.status:
            values["completed_at"] = context.now if values["status"] == Status.DONE else None
        return values
