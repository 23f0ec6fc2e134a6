"""The earlier claims of tasks: what an expired one leaves behind, and how often work was tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet

from accounts.models import User
from taskflow.audit.actor import Actor
from taskflow.audit.recorder import change_locked, create_all
from taskflow.db.query import QueryCache
from taskflow.db.statements import IdArray, IsInIds
from taskflow.tenancy import with_tenant_parameter
from tasks.changes.assign import AssignTask
from tasks.models import Claim, ClaimEnd, Comment, Task
from tasks.models.claim_checks import set_claim_columns
from tasks.models.claims import (
    FURTHER_ATTEMPTS,
    end_claims,
    mark_handed_over,
    with_present_state,
)

EXPIRED_EVENT = "claim_expired"


@with_tenant_parameter
def _last_claims_query(task_ids: IdArray) -> QuerySet[Claim]:
    later = Claim.objects.filter(task=OuterRef("task"), fence__gt=OuterRef("fence"))
    last = Claim.objects.filter(~Exists(later), IsInIds("task_id", task_ids))
    rows = with_present_state(last.select_related("user", "assignee_before"))
    return rows.order_by("pk").select_for_update(of=("self",), no_key=True)


LAST_CLAIMS_QUERY = QueryCache(_last_claims_query)


@dataclass(frozen=True)
class LastClaims:
    """The last claim of each task that had one, locked, by task id."""

    by_task: dict[int, Claim]

    def fence_after(self, task: Task) -> int:
        """Return the fence of the next claim, which is larger than all before."""
        last = self.by_task.get(task.pk)
        return last.fence + 1 if last else 1

    def attempt_after(self, task: Task) -> int:
        """Return the number of the next attempt. A task that was given to a person, or done, begins
        at 1 again.
        """
        last = self.by_task.get(task.pk)
        if last is None or last.handed_over_at is not None:
            return 1
        end = ClaimEnd.EXPIRED if last.ended_at is None else last.end
        return last.attempt + 1 if end in FURTHER_ATTEMPTS else 1


def load_last_claims(tasks: Sequence[Task]) -> LastClaims:
    """Lock the last claims of locked tasks, and read them as they are then. One statement."""
    ids = IdArray(tuple(sorted(task.pk for task in tasks)))
    rows = LAST_CLAIMS_QUERY.fetch_objects((), ids)
    return LastClaims({claim.task_id: claim for claim in rows})


def stored_columns(tasks: Sequence[Task]) -> dict[int, dict[str, Any]]:
    """Return the columns of locked tasks that claims change, as change_locked() takes them."""
    names = ("status", "assignee_id", "version")
    return {task.pk: {name: getattr(task, name) for name in names} for task in tasks}


def end_expired_claims(actor: Actor, tasks: Sequence[Task], last: LastClaims) -> None:
    """End the expired claims of locked tasks, which get back their status and assignee from before.

    It is recorded as a change by the system. A constant number of statements, and none without an
    expired claim.
    """
    expired = [task for task in tasks if task.claim_id]
    if not expired:
        return
    edits = []
    for task in expired:
        claim = last.by_task[task.pk]
        task.claim_id = task.assigned_by_claim_id = None
        values = {"status": claim.status_before, "assignee": _active(claim.assignee_before)}
        edits.append((task, EXPIRED_EVENT, values))
    end_claims([last.by_task[task.pk] for task in expired], ClaimEnd.EXPIRED)
    change_locked(build_system_actor(actor), edits, stored_columns(expired))


def hand_over(actor: Actor, tasks: Sequence[Task], last: LastClaims) -> None:
    """Give tasks with too many attempts to the owners of their projects, with a comment each.

    It is recorded as a change by the system. A project whose owner is deactivated leaves its task
    unassigned. A constant number of statements.
    """
    system = build_system_actor(actor)
    owners = User.objects.in_bulk({task.project.owner_id for task in tasks})
    edits = [
        (task, AssignTask.event, {"assignee": _active(owners.get(task.project.owner_id))})
        for task in tasks
    ]
    change_locked(system, edits, stored_columns(tasks))
    comments = [Comment(task=t, body=_describe_attempts(last.by_task[t.pk])) for t in tasks]
    create_all(system, comments)
    mark_handed_over([last.by_task[task.pk] for task in tasks])
    set_claim_columns(tasks, claim_id=None, assigned_by_claim_id=None)


def build_system_actor(actor: Actor) -> Actor:
    """Return the actor of a change that no user makes, in the request of `actor`."""
    return Actor(User(is_superuser=True), actor.tenant, via=actor.via, request_id=actor.request_id)


def _active(user: User | None) -> User | None:
    return user if user is not None and user.is_active else None


def _describe_attempts(last: Claim) -> str:
    end = "expired" if last.ended_at is None or last.end == ClaimEnd.EXPIRED else str(last.end)
    worker = f" (worker {last.worker})" if last.worker else ""
    note = f" Its note: {last.note}" if last.note else ""
    return (
        f"{last.attempt} claims of this task have ended without a result. The last one, by"
        f" @{last.user.handle}{worker}, has {end}.{note} The task is yours now: change it, or"
        " assign it to nobody so that agents can claim it again."
    )
