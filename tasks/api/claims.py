"""Operations on claims: leases of tasks by workers."""

from __future__ import annotations

from collections.abc import Sequence

from django.http import HttpResponse
from ninja import Query, Router, Status

from accounts.queries import find_referenced_user
from taskflow.audit.actor import Actor, ActorRequest
from taskflow.http.body_options import is_dry_run
from taskflow.http.errors import Invalid
from taskflow.http.paging import PageContents, paginate
from taskflow.http.responses import respond
from taskflow.http.waiting import wait_for_commit
from tasks.actions import claims as actions
from tasks.api.responses import updated_task_texts
from tasks.models import Claim, Task
from tasks.models.claims import with_present_state
from tasks.queries.claim_context import load_contexts
from tasks.queries.claimable import (
    find_claim,
    find_next_expiry,
    lock_claimable_task,
    lock_claimable_tasks,
    read_claim_filters,
)
from tasks.queries.conditions import apply_filters
from tasks.queries.filters import read_filters
from tasks.queries.references import resolve
from tasks.schemas.claims import (
    MAX_CONTEXT_COMMENTS,
    MAX_CONTEXT_TEXT,
    ClaimCompletion,
    ClaimContext,
    ClaimCreate,
    ClaimFilters,
    ClaimHeartbeat,
    ClaimListResponse,
    ClaimResponse,
    CompletionResponse,
    GrantedClaims,
    HeartbeatResponse,
)
from tasks.schemas.task_filters import TaskWhere

claims = Router(tags=["Claims"])
WHERE_POINTER = "#/where/"


@claims.get("", response=ClaimListResponse)
def list_claims(request: ActorRequest, filters: Query[ClaimFilters]) -> PageContents[Claim]:
    """List the claims of tasks that you can see, newest first. `open=true` lists who works on what
    now.
    """
    rows = Claim.objects.visible_to(request.auth.viewer).select_related("task__project", "user")
    matching = apply_filters(rows, read_filters(request.auth, filters))
    return paginate(with_present_state(matching), filters, order=["-id"])


@claims.post("", response={201: GrantedClaims, 204: None})
def create_claims(request: ActorRequest, body: ClaimCreate) -> HttpResponse:
    """Claim the most urgent tasks that you may work on, or one certain task.

    Only tasks that are ready and open, in active projects, and assigned to you or to nobody; by
    priority, then by due time, then by id. Each becomes `in_progress` and yours until the claim
    ends or expires. 204 if there is none within `wait_seconds`. With `task`, 409 `claimed` names
    who holds it, and 409 `not_claimable` says why it cannot be claimed. As long as a claim is open,
    agents change its task only with the header `Claim`.
    """
    locked: list[Task] = []
    granted = _claim(request, body, locked)
    if granted:
        return respond(request, _granted_text(request, granted), status=201)
    # A request that waits is rolled back. One that has given tasks to people is not.
    if body.wait_seconds and not locked and not is_dry_run(request):
        again_after = _find_next_expiry(request.auth, body)
        wait_for_commit(request, seconds=body.wait_seconds, again_after=again_after)
    return HttpResponse(status=204)


@claims.get("/{id:claim_id}", response=ClaimResponse)
def get_claim(request: ActorRequest, claim_id: int) -> Claim:
    """Get a claim. You can see the claims of tasks that you can see, and your own."""
    return find_claim(request.auth, claim_id)


@claims.patch("/{id:claim_id}", response=HeartbeatResponse)
def extend_claim(request: ActorRequest, claim_id: int, body: ClaimHeartbeat) -> dict[str, object]:
    """Extend your claim: a heartbeat. It expires `ttl_seconds` from now.

    `cancel_requested` says whether to stop. 409 `claim_lost` if the claim has expired or ended,
    also if nobody has taken the task since. 403 for the claim of another user.
    """
    claim = find_claim(request.auth, claim_id)
    held = actions.extend_claim(request.auth, claim, **body.sent_fields())
    return {"expires_at": held.expires_at, "cancel_requested": bool(held.cancel_requested_at)}


@claims.post("/{id:claim_id}/completion", response=CompletionResponse)
def complete_claim(
    request: ActorRequest, claim_id: int, body: ClaimCompletion
) -> dict[str, object]:
    """End your claim with its outcome.

    Sending it again with the same outcome is answered as the first time, for as long as the task
    exists. 409 `claim_lost` if the claim has expired or was ended otherwise, and `open_work` if
    subtasks or blockers are open. 403 for the claim of another user.
    """
    sent = body.sent_fields()
    if target := sent.get("assign_to"):
        sent["assign_to"] = find_referenced_user(request.auth, target, "assign_to")
    return actions.complete_claim(request.auth, find_claim(request.auth, claim_id), **sent)


@claims.post("/{id:claim_id}/cancellation", response=ClaimResponse)
def request_cancellation(request: ActorRequest, claim_id: int) -> Claim:
    """Ask the worker of a claim to stop. It learns of it by its next heartbeat.

    For members of the project. 409 `claim_lost` if the claim has ended or expired.
    """
    actions.request_cancellation(request.auth, find_claim(request.auth, claim_id))
    return find_claim(request.auth, claim_id)


@claims.delete("/{id:claim_id}", response={204: None})
def break_claim(request: ActorRequest, claim_id: int) -> Status[None]:
    """End a claim of any user. The task gets back its status and assignee from before the claim.

    For administrators, and owners and admins of the project. The worker gets 409 `claim_lost`. A
    claim that has ended is not changed.
    """
    actions.break_claim(request.auth, find_claim(request.auth, claim_id))
    return Status(204, None)


def _claim(request: ActorRequest, body: ClaimCreate, locked: list[Task]) -> list[Claim]:
    """Claim tasks. All tasks that were locked for it are added to `locked`."""
    actor, sent = request.auth, body.sent_fields()
    options = {name: getattr(body, name) for name in ("ttl_seconds", "worker")}
    if sent.keys() & {"task", "task_id"}:
        task = resolve(actor, {n: v for n, v in sent.items() if n in ("task", "task_id")})["task"]
        return actions.claim_tasks(actor, lambda _: lock_claimable_task(actor, task), **options)
    try:
        values = read_claim_filters(actor, sent.get("where") or TaskWhere())
    except Invalid as problem:
        raise problem.with_pointers(WHERE_POINTER) from None

    def lock_tasks(count: int) -> list[Task]:
        tasks = lock_claimable_tasks(actor, values, count)
        locked.extend(tasks)
        return tasks

    return actions.claim_tasks(actor, lock_tasks, count=body.count, **options)


def _find_next_expiry(actor: Actor, body: ClaimCreate) -> float | None:
    """Return in how many seconds the first claim expires after which the actor may claim a task.

    Nothing is committed then. None if no claim holds such a task.
    """
    where = body.sent_fields().get("where") or TaskWhere()
    return find_next_expiry(actor, read_claim_filters(actor, where))


def _granted_text(request: ActorRequest, granted: Sequence[Claim]) -> str:
    """Return a GrantedClaims as JSON. The database builds that of the tasks."""
    contexts = load_contexts(granted, max_comments=MAX_CONTEXT_COMMENTS, max_text=MAX_CONTEXT_TEXT)
    texts = updated_task_texts(request.auth, [claim.task_id for claim in granted])
    data = ",".join(
        f'{{"id":{claim.pk},"fence":{claim.fence},"attempt":{claim.attempt},"expires_at":'
        f'"{claim.expires_at.isoformat().replace("+00:00", "Z")}","task":{texts[claim.task_id]},'
        f'"context":{ClaimContext(**contexts[claim.pk]).model_dump_json()}}}'
        for claim in granted
    )
    return f'{{"data":[{data}]}}'
