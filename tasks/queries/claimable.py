"""The tasks that a user may claim, and claims by their ids."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db.models import Exists, OuterRef, Q, QuerySet

from taskflow.audit.actor import Actor
from taskflow.db.clock import DatabaseTime
from taskflow.db.query import QueryCache
from taskflow.db.types import Row
from taskflow.db.viewer import Viewer
from taskflow.http.errors import Conflict, NotFound
from taskflow.http.paging import FilterValues
from taskflow.tenancy import with_tenant_parameter
from tasks.models import Claim, Project, ProjectMember, ProjectStatus, Task, TaskBlocker
from tasks.models.claim_checks import build_claimed
from tasks.models.claims import is_open, with_present_state
from tasks.models.task_indexes import CLAIM_ORDER
from tasks.models.tasks import has_open_blocker, is_ready
from tasks.queries.conditions import apply_filters
from tasks.queries.filters import read_filters_of_change
from tasks.rules import WRITERS, require_member, require_unarchived

MAX_COUNT = 10  # tasks that one request claims
NO_CLAIM = NotFound("There is no such claim.")


@with_tenant_parameter
def _claimable_query(
    count: int,
    names: tuple[str, ...],
    is_one: bool,
    viewer: Viewer,
    user_id: int,
    task_id: int | None,
    values: Sequence[object],
) -> QuerySet[Task]:
    """Lock the first claimable tasks, the most urgent ones first.

    Tasks that other transactions have locked are left out, unless it is one certain task.
    """
    rows = apply_filters(_workable_tasks(viewer), dict(zip(names, values, strict=True)))
    rows = rows.filter(is_ready(), _is_free_for(user_id)).select_related("project")
    if task_id is not None:
        rows = rows.filter(pk=task_id)
    ordered = rows.order_by(*CLAIM_ORDER)
    locked = ordered.select_for_update(of=("self",), no_key=True, skip_locked=not is_one)
    return locked.annotate(database_time=DatabaseTime())[:count]


def _workable_tasks(viewer: Viewer) -> QuerySet[Task]:
    """Return the tasks of active projects in which the viewer may write."""
    rows: QuerySet[Task] = Task.objects.visible_to(viewer)
    rows = rows.filter(project__status=ProjectStatus.ACTIVE)
    if viewer.is_staff:
        return rows
    own = ProjectMember.objects.of_viewer(viewer).filter(role__in=[str(role) for role in WRITERS])
    return rows.filter(project__in=own.values("project_id"))


def _is_free_for(user_id: int) -> Q:
    """Return the condition that the user may claim a task: it has no open claim, and it is assigned
    to the user or to nobody. An assignee that an ended or expired claim has set does not count.
    """
    is_unassigned = Q(assignee__isnull=True) | Q(assigned_by_claim_id__isnull=False)
    unclaimed = Q(claim_id__isnull=True) & (is_unassigned | Q(assignee__pk=user_id))
    lapsed = Claim.objects.filter(~is_open(), pk=OuterRef("claim_id"))
    lapsed = lapsed.filter(Q(assignee_before__isnull=True) | Q(assignee_before__pk=user_id))
    return unclaimed | Q(Exists(lapsed))


CLAIMABLE_QUERY = QueryCache(_claimable_query)


def read_claim_filters(actor: Actor, where: Any) -> FilterValues:
    """Return the values of `where`, a TaskWhere. Raises Invalid as a bulk request does."""
    return read_filters_of_change(actor, Task.objects.visible_to(actor.viewer), where)


def lock_claimable_tasks(actor: Actor, values: FilterValues, count: int) -> list[Task]:
    """Lock up to `count` tasks that the actor may claim, the most urgent ones first: by priority,
    then by due time, then by id. One statement. Tasks that other requests lock are left out.
    """
    arguments = (actor.viewer, actor.user.pk, None, tuple(values.values()))
    return CLAIMABLE_QUERY.fetch_objects((count, tuple(values), False), *arguments)


def find_next_expiry(actor: Actor, values: FilterValues) -> float | None:
    """Return in how many seconds the first open claim expires whose task the actor may claim then.

    One query, which begins with the open claims. None if there is no such claim.
    """
    arguments = (actor.viewer, actor.user.pk, tuple(values.values()))
    rows = _expiry_query.fetch((tuple(values),), *arguments)
    if not rows:
        return None
    ((expires_at, now),) = rows
    left: timedelta = expires_at - now
    return max(0.0, left.total_seconds())


@with_tenant_parameter
def _select_expiry(
    names: tuple[str, ...], viewer: Viewer, user_id: int, values: Sequence[object]
) -> QuerySet[Claim, Row]:
    tasks = apply_filters(_workable_tasks(viewer), dict(zip(names, values, strict=True)))
    tasks = tasks.filter(is_ready(), pk=OuterRef("task_id"), claim_id=OuterRef("pk"))
    is_free_then = Q(assignee_before__isnull=True) | Q(assignee_before__pk=user_id)
    claims = Claim.objects.filter(is_open(), is_free_then, Exists(tasks)).order_by("expires_at")
    rows: QuerySet[Claim, Row] = claims.values_list("expires_at", DatabaseTime())[:1]
    return rows


_expiry_query: QueryCache[Claim] = QueryCache(_select_expiry)


def lock_claimable_task(actor: Actor, task: Task) -> list[Task]:
    """Lock one visible task for a claim. One statement.

    Raises Forbidden if the actor may not write in its project, and Conflict if the task cannot be
    claimed.
    """
    arguments = (actor.viewer, actor.user.pk, task.pk, ())
    tasks = CLAIMABLE_QUERY.fetch_objects((1, (), True), *arguments)
    if not tasks:
        _refuse(actor, task)
    return tasks


def _refuse(actor: Actor, task: Task) -> None:
    """Raise the reason why the task cannot be claimed."""
    require_member(actor, task.project)
    require_unarchived(task.project)
    task = Task.objects.select_related("project", "assignee").get(pk=task.pk)
    open_claims = Claim.objects.filter(is_open(), task=task).select_related("user")
    if claim := open_claims.first():
        raise build_claimed([(task, claim)])
    raise Conflict(f"{task.key} cannot be claimed: {_reason(task)}", code="not_claimable")


def _reason(task: Task) -> str:
    if task.completed:
        return "it is done. Reopen it first."
    if task.project.status != ProjectStatus.ACTIVE:
        return "its project is not active."
    if TaskBlocker.objects.filter(has_open_blocker(), task=task).exists():
        return "open tasks block it. Complete them first."
    if task.assignee:
        return f"it is assigned to @{task.assignee.handle}. Only the assignee may claim it."
    return "another request has just changed it. Send the request again."


def find_claim(actor: Actor, claim_id: int) -> Claim:
    """Return a claim that the actor can see, or has made. One query. Raises NotFound.

    A worker finds its own claim even if the task was moved or deleted since, as long as its token
    is not limited to projects.
    """
    found = CLAIM_QUERY.fetch_objects((), actor.viewer, actor.user.pk, claim_id)
    if not found:
        raise NO_CLAIM.copy()
    return found[0]


@with_tenant_parameter
def _claim_query(viewer: Viewer, user_id: int, claim_id: int) -> QuerySet[Claim]:
    rows: QuerySet[Claim] = Claim.objects.filter(pk=claim_id)
    if viewer.project_ids is not None:
        rows = rows.filter(task__project__in=Project.everything.visible_to(viewer))
    visible = Claim.objects.visible_to(viewer).filter(pk=claim_id)
    rows = rows.filter(Q(user__pk=user_id) | Q(pk__in=visible.values("pk")))
    rows = rows.select_related("task__project", "task__assignee", "user", "assignee_before")
    return with_present_state(rows)


CLAIM_QUERY = QueryCache(_claim_query)
