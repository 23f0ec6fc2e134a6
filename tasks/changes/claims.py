"""The changes of a task when its claim ends with a request of the worker, or is broken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from accounts.models import User
from taskflow.audit.actor import Actor
from taskflow.audit.merge_patch import MergePatch
from taskflow.audit.values import FieldValues
from taskflow.http.errors import Conflict
from tasks.changes.base import Needs, TaskChange
from tasks.changes.complete import CompleteTask
from tasks.changes.context import Context
from tasks.models import Claim, ClaimEnd, Status, Task
from tasks.models.claim_checks import build_claim_lost
from tasks.models.claims import lock_claims

# By the way in which a claim ends and its task is given back: the verb of the event.
RETURN_EVENTS = {
    ClaimEnd.RELEASED: "claim_released",
    ClaimEnd.FAILED: "claim_failed",
    ClaimEnd.NEEDS_INPUT: "claim_needs_input",
    ClaimEnd.BROKEN: "claim_broken",
}


class AlreadyFinishedError(Exception):
    """The claim has been ended before with the same outcome. `result` is what was answered then."""

    def __init__(self, result: dict[str, object]) -> None:
        super().__init__()
        self.result = result


def lock_claim_to_end(claim: Claim, end: ClaimEnd) -> Claim:
    """Lock the claim, whose task must be locked, and return it as it is now. One statement.

    Raises AlreadyFinishedError if it has ended in the same way, and Conflict if it is lost.
    """
    held = lock_claims([claim.pk]).get(claim.pk)
    if held is None:
        raise Conflict("The task of the claim was deleted permanently.", code="claim_lost")
    if held.result is not None and held.end == end:
        raise AlreadyFinishedError(held.result)
    if not held.is_open_now and not (end == ClaimEnd.BROKEN and held.ended_at is None):
        raise build_claim_lost(held)
    return held


@dataclass(eq=False)
class _EndsClaim(TaskChange):
    """A change that ends the claim of its task. After check(), `held` is the claim, locked.

    apply() takes the claim off the task in memory, so that the recorder neither refuses the change
    nor ends the claim in another way. The caller stores both.
    """

    claim: Claim
    end: ClaimEnd
    result: FieldValues = field(default_factory=dict, kw_only=True)  # merged into the metadata
    held: Claim | None = field(default=None, init=False)
    version_before: int = field(default=0, init=False)  # of the task, under its lock

    def take_claim(self, values: dict[str, object]) -> dict[str, object]:
        """Take the claim off the task, and return the values with those of the result."""
        self.task.claim_id = None
        self.version_before = self.task.version
        return values | ({"metadata": MergePatch("result", self.result)} if self.result else {})

    def with_metadata(self, columns: Sequence[str]) -> Sequence[str]:
        return (*columns, "metadata") if self.result else columns


@dataclass(eq=False)
class FinishClaimedTask(_EndsClaim, CompleteTask):
    """Set the task to done with the outcome of the claim, and merge its result."""

    def columns_to_lock(self) -> Sequence[str]:
        return self.with_metadata(self.locks)

    def check(self, task: Task, context: Context) -> None:
        self.held = lock_claim_to_end(self.claim, self.end)
        super().check(task, context)

    def apply(self, task: Task, context: Context) -> dict[str, object]:
        return self.take_claim(super().apply(task, context))


@dataclass(eq=False)
class ReturnClaimedTask(_EndsClaim):
    """Give the task back with its status and assignee from before the claim.

    With `target`, it gets this assignee instead. A former assignee who was deactivated or can no
    longer see the project is left out.
    """

    target: User | None = field(default=None, kw_only=True)

    locks: ClassVar = ("status", "assignee")

    def needs(self, actor: Actor) -> Needs:
        return Needs(assignee=self.target or self.claim.assignee_before)

    def columns_to_lock(self) -> Sequence[str]:
        return self.with_metadata(self.locks)

    def event_for(self, task: Task) -> str:
        return RETURN_EVENTS[self.end]

    def check(self, task: Task, context: Context) -> None:
        self.held = lock_claim_to_end(self.claim, self.end)
        if self.target is not None:
            context.check_assignee(self.target, task.project)

    def apply(self, task: Task, context: Context) -> dict[str, object]:
        values: dict[str, object] = {}
        if task.status == Status.IN_PROGRESS:
            values["status"] = self.claim.status_before
        if self.target or task.assignee_id == self.claim.user_id:
            values["assignee"] = self.target or self._former_assignee(task, context)
        self.task.assigned_by_claim_id = None
        return self.take_claim(values)

    def _former_assignee(self, task: Task, context: Context) -> User | None:
        former: User | None = self.claim.assignee_before
        if former is None or not former.is_active or not context.can_see(former, task.project):
            return None
        return former
