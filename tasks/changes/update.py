"""Update the fields of a task."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from taskflow.audit.actor import Actor
from taskflow.audit.values import FieldValues
from taskflow.db.text import fold_key
from tasks.changes.assign import AssignTask
from tasks.changes.base import LINK_FIELDS, NO_NEEDS, ForcedChange, Needs, TaskChange
from tasks.changes.complete import CompleteTask
from tasks.changes.context import DUE_TWICE, Context, check_tag_count
from tasks.changes.outcome import check_outcome, get_outcome
from tasks.changes.parts import divide
from tasks.changes.reopen import ReopenTask
from tasks.models import Status, Task

DUE_FIELDS = ("due_date", "due_on")
# By field: the columns that its check reads, or that are set with it.
RELATED_COLUMNS = {
    "status": (*CompleteTask.locks, "parent"),
    "outcome": ("status",),
    "parent": ("status",),
    "due_date": DUE_FIELDS,
    "due_on": DUE_FIELDS,
}
FIELDS_WITH_NEEDS = frozenset({"assignee", "blocked_by", "parent", "external_ref", "tags"})


@dataclass(eq=False)
class UpdateTask(ForcedChange):
    """Set the fields in `sent`. `tags` and `blocked_by` replace all tags and blockers of the task.

    An update that sets an open task to done has the checks and the verb of CompleteTask. One that
    sets a done task to another status has those of ReopenTask.
    """

    sent: FieldValues

    operation = "update"

    @classmethod
    def build(cls, task: Task, values: FieldValues, *, force: bool) -> TaskChange:
        """Return AssignTask or CompleteTask if the update does only that, otherwise UpdateTask."""
        if values.keys() == {"assignee"}:
            return AssignTask.build(task, values, force=force)
        if values == {"status": Status.DONE}:
            return CompleteTask.build(task, values, force=force)
        return cls(task, values, force=force)

    def parts(self) -> Iterable[tuple[str, TaskChange]]:
        for name, values in divide(self.sent):
            yield name, UpdateTask(self.task, values, force=self.force)

    @property
    def values(self) -> FieldValues:
        return self.sent

    def needs(self, actor: Actor) -> Needs:
        is_reopened = self.task.completed and "status" in self.sent
        if not is_reopened and self.sent.keys().isdisjoint(FIELDS_WITH_NEEDS):
            return NO_NEEDS
        return Needs(
            assignee=self.sent.get("assignee"),
            blockers=self.sent.get("blocked_by", ()),
            parent=self.sent.get("parent"),
            open_parent_id=self._get_parent_id(self.task) if self._is_reopened_or_moved() else None,
            external_ref=self.sent.get("external_ref"),
            tag_names=self.sent.get("tags", ()),
            graph_lock=bool(self.sent.get("blocked_by")),
        )

    def _is_reopened_or_moved(self) -> bool:
        """Whether the task, as it was read, becomes an open task below another parent, or open."""
        if self.force or self._get_status(self.task) == Status.DONE:
            return False
        return "parent" in self.sent or self.task.completed

    def _get_status(self, task: Task) -> str:
        return str(self.sent.get("status", task.status))

    def _get_parent_id(self, task: Task) -> int | None:
        """Return the id of the parent that the task has after the update."""
        if "parent" not in self.sent:
            return task.parent_id
        return self.sent["parent"].pk if self.sent["parent"] else None

    def columns_to_lock(self) -> Sequence[str]:
        related = [name for n in self.sent for name in RELATED_COLUMNS.get(n, ())]
        return [*(self.sent.keys() - LINK_FIELDS), *related]

    def event_for(self, task: Task) -> str:
        status = self.sent.get("status")
        if status == Status.DONE and not task.completed:
            return CompleteTask.event_of_outcome(self.sent.get("outcome"))
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
        if sent.keys() & {*DUE_FIELDS}:
            self._check_due(task)
        if "tags" in sent:
            check_tag_count(len({fold_key(name) for name in sent["tags"]}))
        if "outcome" in sent:
            check_outcome(sent, self._get_status(task))
        if "external_ref" in sent:
            context.check_external_ref(task, task.project, sent["external_ref"])
        if sent.keys() & {"status", "parent"} and not self.force:
            self._check_parent_is_open(task, context)
        if sent.get("status") == Status.DONE and not (task.completed or self.force):
            context.check_no_open_work(task, blockers=sent.get("blocked_by"))

    def _check_parent_is_open(self, task: Task, context: Context) -> None:
        """Check the parent if the task is reopened, or if it is open and gets another parent."""
        if self._get_status(task) == Status.DONE:
            return
        parent_id = self._get_parent_id(task)
        if task.completed or parent_id != task.parent_id:
            context.check_parent_is_open(parent_id)

    def _check_due(self, task: Task) -> None:
        if self.sent.get("due_date", task.due_date) and self.sent.get("due_on", task.due_on):
            raise DUE_TWICE.copy()

    def apply(self, task: Task, context: Context) -> dict[str, object]:
        values = dict(self.sent)
        if "tags" in values:
            values["tags"] = context.get_loaded_tags(values["tags"])
        if "status" in values and values["status"] != task.status:
            values["completed_at"] = context.now if values["status"] == Status.DONE else None
        if values.keys() & {"status", "outcome"}:
            values["outcome"] = get_outcome(values, self._get_status(task), task.outcome)
        return values
