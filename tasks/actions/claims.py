"""The actions on claims: claim tasks, extend, finish and break claims, and ask workers to stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from django.utils.translation import gettext_noop

from accounts.actions.locking import lock_users
from accounts.models import User
from taskflow.audit.actor import Actor
from taskflow.audit.recorder import change_locked, create, lock, record_version
from taskflow.audit.values import FieldValues
from taskflow.http.errors import Forbidden
from tasks.actions.claim_attempts import (
    LastClaims,
    end_expired_claims,
    hand_over,
    load_last_claims,
    stored_columns,
)
from tasks.changes.claims import (
    AlreadyFinishedError,
    FinishClaimedTask,
    ReturnClaimedTask,
)
from tasks.changes.planner import change_tasks
from tasks.models import Claim, ClaimEnd, ClaimOutcome, Comment, Status, Task
from tasks.models.claim_checks import build_claim_lost, store_claim_columns
from tasks.models.claims import DEFAULT_TTL, insert_claims, lock_claims, store_claim
from tasks.rules import MANAGERS, require_member, require_role

MAX_ROUNDS = 20  # of tasks with too many attempts that one request passes over
NOT_YOURS = Forbidden(
    gettext_noop("Only the user who has claimed the task may extend or finish the claim.")
)
NEEDS_MEMBER = Forbidden("Operators cannot claim tasks. Sign in as a user of the tenant.")
LockTasks = Callable[[int], Sequence[Task]]


def claim_tasks(
    actor: Actor,
    lock_tasks: LockTasks,
    *,
    count: int = 1,
    ttl_seconds: int = DEFAULT_TTL,
    worker: str = "",
) -> list[Claim]:
    """Claim up to `count` tasks for the actor. Each becomes in_progress and assigned to the actor.

    `lock_tasks(n)` locks and returns up to n tasks that the actor may claim, as
    tasks/queries/claimable.py does. A task whose last claim has expired first gets back its status
    and assignee. After the tenant's max_attempts, a task goes to the owner of its project, and the
    next one is claimed in its place. Return the claims with their tasks, in the order of
    lock_tasks(); none if no task can be claimed. A constant number of statements, unless tasks are
    passed over.
    """
    if actor.member is None:
        raise NEEDS_MEMBER.copy()
    actor = replace(actor, claim_id=None)
    lock_users([actor.member])
    claims: list[Claim] = []
    for _round in range(MAX_ROUNDS):
        tasks = lock_tasks(count - len(claims))
        last = load_last_claims(tasks) if tasks else LastClaims({})
        # A heartbeat may have extended a claim after lock_tasks() has read it.
        free = [t for t in tasks if not (t.claim_id and last.by_task[t.pk].is_open_now)]
        end_expired_claims(actor, free, last)
        spent = [t for t in free if last.attempt_after(t) > actor.tenant.max_attempts]
        if spent:
            hand_over(actor, spent, last)
        passed = {task.pk for task in spent}
        chosen = [task for task in free if task.pk not in passed]
        claims += _claim(actor, chosen, last, ttl_seconds, worker)
        if not spent or len(claims) == count:
            break
    return claims


def _claim(
    actor: Actor, tasks: Sequence[Task], last: LastClaims, ttl_seconds: int, worker: str
) -> list[Claim]:
    """Claim locked tasks that have no claim. A constant number of statements."""
    if not tasks:
        return []
    user = actor.user
    claims = []
    for task in tasks:
        now: datetime = task.database_time  # type: ignore[attr-defined]  # an annotation
        # An assignee that an ended claim has set does not count.
        before = None if task.assigned_by_claim_id else task.assignee_id
        claims.append(
            Claim(
                tenant_id=actor.tenant.pk,
                task=task,
                user=user,
                worker=worker,
                fence=last.fence_after(task),
                attempt=last.attempt_after(task),
                ttl_seconds=ttl_seconds,
                expires_at=now + timedelta(seconds=ttl_seconds),
                heartbeat_at=now,
                created_at=now,
                assignee_before_id=before,
                status_before=task.status,
            )
        )
        task.assigned_by_claim_id = None
    insert_claims(claims)
    versions = {task.pk: task.version for task in tasks}
    values = {"status": Status.IN_PROGRESS, "assignee": user}
    change_locked(actor, [(task, "claimed", values) for task in tasks], stored_columns(tasks))
    for task, claim in zip(tasks, claims, strict=True):
        if task.version == versions[task.pk]:  # it was in progress and the actor's before
            record_version(actor, task, "claimed")
        task.claim_id = claim.pk
        task.assigned_by_claim_id = claim.pk if claim.assignee_before_id != user.pk else None
    store_claim_columns(tasks)
    return claims


def extend_claim(
    actor: Actor,
    claim: Claim,
    *,
    progress: int | None = None,
    note: str | None = None,
    ttl_seconds: int | None = None,
) -> Claim:
    """Extend a claim of the actor by its time to live from now, by the clock of the database.

    None keeps a value. Nothing is recorded. Raises Forbidden for the claim of another user, or if
    the actor may no longer write in the project, and Conflict if the claim has ended or expired.
    """
    _require_own(actor, claim)
    held = lock_claims([claim.pk]).get(claim.pk)
    if held is None or not held.is_open_now:
        raise build_claim_lost(held or claim)
    require_member(actor, claim.task.project)
    ttl = ttl_seconds or held.ttl_seconds
    values: dict[str, object] = {
        "ttl_seconds": ttl,
        "heartbeat_at": held.database_time,
        "expires_at": held.database_time + timedelta(seconds=ttl),
    }
    sent = {"progress": progress, "note": note}
    store_claim(held, **values | {name: value for name, value in sent.items() if value is not None})
    return held


def complete_claim(
    actor: Actor,
    claim: Claim,
    outcome: ClaimOutcome,
    *,
    comment: str | None = None,
    result: FieldValues | None = None,
    assign_to: User | None = None,
) -> dict[str, object]:
    """End a claim of the actor, and return what it is answered.

    `completed` and `cancelled` make the task done. `failed` and `released` give it back as it was
    before the claim. `needs_input` gives it to `assign_to`, or to the owner of the project.
    `result` is merged into the metadata of the task. A claim that has ended with the same outcome
    is answered as the first time, and nothing is changed. Raises Forbidden for the claim of another
    user, Conflict if the claim is lost or if open work prevents the completion, and Invalid for an
    assignee who cannot see the project.
    """
    _require_own(actor, claim)
    end = ClaimEnd(outcome)
    if claim.result is not None and claim.end == end:
        first: dict[str, object] = claim.result
        return first
    actor = replace(actor, claim_id=None)
    task = claim.task
    change: FinishClaimedTask | ReturnClaimedTask
    if outcome in (ClaimOutcome.COMPLETED, ClaimOutcome.CANCELLED):
        change = FinishClaimedTask(task, claim, end, result=result or {}, outcome=str(outcome))
    else:
        target = assign_to or (task.project.owner if end == ClaimEnd.NEEDS_INPUT else None)
        change = ReturnClaimedTask(task, claim, end, result=result or {}, target=target)
    try:
        _change_task(actor, change)
    except AlreadyFinishedError as finished:
        return finished.result
    written = (
        create(actor, Comment(task=task, author=actor.member, body=comment)) if comment else None
    )
    return _store_end(change, written)


def break_claim(actor: Actor, claim: Claim) -> None:
    """End a claim of any user. Its task is given back as it was before the claim.

    Requires an administrator, or an owner or admin of the project. A claim that has ended is not
    changed.
    """
    require_role(actor, claim.task.project, *MANAGERS)
    if claim.ended_at is not None:
        return
    change = ReturnClaimedTask(claim.task, claim, ClaimEnd.BROKEN)
    _change_task(replace(actor, claim_id=None), change)
    _store_end(change, None)


def request_cancellation(actor: Actor, claim: Claim) -> Claim:
    """Ask the worker of a claim to stop. It learns of it by its next heartbeat.

    Requires membership of the project. A repeated request changes nothing. Raises Conflict if the
    claim has ended or expired.
    """
    lock(claim.task)
    require_member(actor, claim.task.project)
    held = lock_claims([claim.pk]).get(claim.pk)
    if held is None or not held.is_open_now:
        raise build_claim_lost(held or claim)
    if held.cancel_requested_at is None:
        store_claim(held, cancel_requested_at=held.database_time)
        task_actor = replace(actor, claim_id=None)
        record_version(task_actor, claim.task, "claim_cancel_requested")
    return held


def _require_own(actor: Actor, claim: Claim) -> None:
    if claim.user_id != actor.user.pk:
        raise NOT_YOURS.copy()


def _change_task(actor: Actor, change: FinishClaimedTask | ReturnClaimedTask) -> None:
    """Carry out the change, and record it also if the task stays as it is."""
    task = change.task
    change_tasks(actor, [change])
    if task.version == change.version_before:
        record_version(actor, task, change.event_for(task))


def _store_end(
    change: FinishClaimedTask | ReturnClaimedTask, comment: Comment | None
) -> dict[str, object]:
    """Store the end of the claim, and return what its worker is answered for ever."""
    task, held = change.task, change.held
    assert held is not None  # check() has locked it
    ended_at = held.database_time
    answer: dict[str, object] = {
        "id": held.pk,
        "fence": held.fence,
        "outcome": change.end.value,
        "ended_at": ended_at.isoformat().replace("+00:00", "Z"),
        "task_id": task.pk,
        "task_key": task.key,
        "task_version": task.version,
        "task_status": task.status,
        "assignee_id": task.assignee_id,
        "comment_id": comment.pk if comment else None,
    }
    is_of_worker = change.end in ClaimOutcome.values
    store_claim(held, ended_at=ended_at, end=change.end, result=answer if is_of_worker else None)
    store_claim_columns([task])
    return answer
