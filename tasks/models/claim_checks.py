"""What a change of a task means for its claim, and which changes a claim refuses.

The recorder calls follow_task_changes() for every change of a task or of a comment, in every
channel, while the task is locked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from django.db import models

from accounts.models import UserKind
from taskflow.db.clock import DatabaseTime
from taskflow.db.many_rows import update_rows
from taskflow.db.writes import update
from taskflow.http.errors import Conflict
from taskflow.tenancy import Changes, with_tenant_parameter
from tasks.models.claims import Claim, ClaimEnd, end_claims, is_open, lock_claims

if TYPE_CHECKING:
    from taskflow.audit.actor import Actor
    from tasks.models.tasks import Task

CLAIM_COLUMNS = ("claim_id", "assigned_by_claim_id")  # of a task
DONE = "done"  # a status; the module of tasks imports this one
HOW_TO_CLAIM = (
    "Send the header Claim with its id if it is yours. Otherwise work on another task: claim one"
    " with POST /claims."
)
HOW_TO_GO_ON = "Stop working on the task, and claim another one with POST /claims."


def follow_task_changes(actor: Actor, changes: Sequence[tuple[Task, Changes]]) -> None:
    """Refuse the changes if a claim of a task refuses them, and end the claims that they end.

    An agent may change a claimed task only with the claim in its request. Nobody may name a claim
    that is not open, or not their own. People may change any task. Completing, moving, deleting and
    reassigning a task ends its claim. An event without changes is allowed. Costs nothing
    if no task has a claim and the request names none. Raises Conflict that names every refused
    task.
    """
    if not (actor.claim_id or _concern_claims(changes)):
        return
    reassigned = [task for task, fields in changes if "assignee" in fields]
    set_claim_columns([t for t in reassigned if t.assigned_by_claim_id], assigned_by_claim_id=None)
    claimed = {task.claim_id: task for task, fields in changes if task.claim_id and fields}
    ending = [task for task, fields in changes if task.claim_id and _ends_claim(fields)]
    is_agent = actor.user.kind == UserKind.AGENT
    if not ((claimed and is_agent) or ending or actor.claim_id):
        return
    claims = lock_claims({*claimed, *([actor.claim_id] if actor.claim_id else [])})
    if actor.claim_id:
        check_named_claim(actor, claims.get(actor.claim_id))
    if is_agent:
        _refuse_claimed(
            [(t, claims[pk]) for pk, t in claimed.items() if pk in claims and pk != actor.claim_id]
        )
    _end_claims_of(actor, ending, claims)


def end_claims_in_projects(project_ids: Sequence[int]) -> None:
    """End the claims of all tasks of these projects. Two statements, or none without projects."""
    if not project_ids:
        return
    task_model: Any = Claim._meta.get_field("task").related_model
    tasks = task_model.everything.filter(project__in=project_ids, claim_id__isnull=False)
    tasks.update(claim_id=None)
    claims = Claim.objects.filter(task__project__in=project_ids, ended_at__isnull=True)
    claims.update(end=ClaimEnd.SUPERSEDED, ended_at=DatabaseTime())


def check_named_claim(actor: Actor, claim: Claim | None) -> None:
    """Raise Conflict unless the claim that a request names is the actor's and open.

    `claim` is as lock_claims() returns it, or None if it does not exist.
    """
    if claim is None or claim.user_id != actor.user.pk:
        raise Conflict(
            f"You have no claim {actor.claim_id}. Send the id of a claim that POST /claims has"
            " given you, or leave out the header Claim.",
            code="claim_lost",
        )
    if not claim.is_open_now:
        raise build_claim_lost(claim)


def build_claim_lost(claim: Claim) -> Conflict:
    """Return the problem of a claim that has ended or expired. One query for its task."""
    others = Claim.objects.filter(is_open(), task=claim.task_id).exclude(pk=claim.pk)
    holder = others.select_related("user").first()
    detail = f"Claim {claim.pk} of task {claim.task_id} {_describe_end(claim)}. {HOW_TO_GO_ON}"
    error: dict[str, object] = {"code": "claim_lost", "detail": detail, "task_id": claim.task_id}
    error |= describe_claim(holder) if holder else {}
    return Conflict(detail, code="claim_lost", errors=[error])


def build_claimed(held: Sequence[tuple[Task, Claim]]) -> Conflict:
    """Return the problem of tasks that others have claimed, with an error for each task."""
    errors = [
        {
            "code": "claimed",
            "detail": f"Task {task.pk} is claimed by {_name_holder(claim)}, since"
            f" {_format(claim.created_at)}, until {_format(claim.expires_at)}.",
            "task_id": task.pk,
            **describe_claim(claim),
        }
        for task, claim in held
    ]
    return Conflict(f"{errors[0]['detail']} {HOW_TO_CLAIM}", code="claimed", errors=errors)


def describe_claim(claim: Claim) -> dict[str, object]:
    """Return who holds a task, since when and until when. Without the id, which is a right."""
    return {
        "holder": f"@{claim.user.handle}",
        "worker": claim.worker,
        "since": _format(claim.created_at),
        "expires_at": _format(claim.expires_at),
    }


def _concern_claims(changes: Sequence[tuple[Task, Changes]]) -> bool:
    """Return whether a claim holds one of the tasks, or has set its assignee. Most often none."""
    return any(task.claim_id or task.assigned_by_claim_id for task, _fields in changes)


def _ends_claim(fields: Changes) -> bool:
    """Return whether the recorded changes of a task end its claim."""
    is_done = fields.get("status", [None, None])[1] == DONE
    is_deleted = fields.get("deleted_at", [None, None])[1] is not None
    return is_done or is_deleted or not fields.keys().isdisjoint({"project", "assignee"})


def _refuse_claimed(held: Sequence[tuple[Task, Claim]]) -> None:
    still_held = [(task, claim) for task, claim in held if claim.is_open_now]
    if still_held:
        raise build_claimed(still_held)


def _end_claims_of(actor: Actor, tasks: Sequence[Task], claims: Mapping[int, Claim]) -> None:
    """End the claims of these tasks, which the changes end."""
    ends: dict[ClaimEnd, list[Claim]] = {}
    for task in {task.pk: task for task in tasks}.values():
        if claim := claims.get(task.claim_id or 0):
            ends.setdefault(_end_of(actor, task, claim), []).append(claim)
    for end, ended in ends.items():
        end_claims(ended, end)
    set_claim_columns(tasks, claim_id=None)


def _end_of(actor: Actor, task: Task, claim: Claim) -> ClaimEnd:
    """Return how the change of the task ends its claim."""
    if claim.pk == actor.claim_id and task.outcome:
        return ClaimEnd(task.outcome)
    return ClaimEnd.SUPERSEDED if claim.is_open_now else ClaimEnd.EXPIRED


def set_claim_columns(tasks: Iterable[Task], **values: int | None) -> None:
    """Set columns about claims of locked tasks, and store them. One statement, or none."""
    rows = {task.pk: task for task in tasks}
    for task in rows.values():
        for name, value in values.items():
            setattr(task, name, value)
    store_claim_columns(list(rows.values()))


def store_claim_columns(tasks: Sequence[Task]) -> None:
    """Store the columns about claims of locked tasks. They have no events.

    One statement, which PostgreSQL gets with the next one if it is for one task.
    """
    if len(tasks) == 1:
        values = {name: getattr(tasks[0], name) for name in CLAIM_COLUMNS}
        update(_all_tasks, tasks[0].pk, values)
    elif tasks:
        update_rows(tasks, "tenant_id", CLAIM_COLUMNS)


@with_tenant_parameter
def _all_tasks() -> models.QuerySet[models.Model]:
    """Return all tasks in any tenant, also those in the trash."""
    task_model: Any = Claim._meta.get_field("task").related_model
    tasks: models.QuerySet[models.Model] = task_model.everything.all()
    return tasks


def _describe_end(claim: Claim) -> str:
    if claim.ended_at is None:
        return f"expired at {_format(claim.expires_at)}"
    return f"ended at {_format(claim.ended_at)}: {claim.end}"


def _name_holder(claim: Claim) -> str:
    worker = f" (worker {claim.worker})" if claim.worker else ""
    return f"@{claim.user.handle}{worker}"


def _format(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
