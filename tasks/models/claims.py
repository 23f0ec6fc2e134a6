"""Claims: the leases of tasks by workers. Start every query of a viewer from visible_to().

A claim is work in progress, not a change of data: heartbeats have no events. Beginning and ending
one changes the task, and the recorder writes events of the task for both.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Self

from django.db import models
from django.db.models import ExpressionWrapper, Q
from django.utils.translation import gettext_lazy

from accounts.models import User
from taskflow.db.clock import DatabaseTime
from taskflow.db.query import QueryCache
from taskflow.db.statements import IdArray, IsInIds
from taskflow.db.writes import update
from taskflow.tenancy import (
    TenantFK,
    TenantManager,
    TenantModel,
    TenantQuerySet,
    with_tenant_parameter,
)

if TYPE_CHECKING:
    from taskflow.db.viewer import Viewer

MIN_TTL, MAX_TTL, DEFAULT_TTL = 5, 86_400, 300  # seconds
MAX_PROGRESS = 100  # percent
MAX_WORKER_LENGTH = 100
MAX_NOTE_LENGTH = 2000


class ClaimOutcome(models.TextChoices):
    """How a worker ends its claim.

    `completed` and `cancelled` make the task done with that outcome. `failed` and `released` give
    it back as it was before the claim. `needs_input` gives it to a person.
    """

    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"
    RELEASED = "released"
    NEEDS_INPUT = "needs_input"


class ClaimEnd(models.TextChoices):
    """How a claim has ended: with an outcome of its worker, or without its worker.

    `expired`: its time was over, and another request has taken the task. `broken`: an administrator
    or a manager of the project ended it. `superseded`: the task was completed, moved, deleted or
    reassigned without the claim.
    """

    COMPLETED = "completed"
    CANCELLED = "cancelled"
    FAILED = "failed"
    RELEASED = "released"
    NEEDS_INPUT = "needs_input"
    EXPIRED = "expired"
    BROKEN = "broken"
    SUPERSEDED = "superseded"


# After these ends, the next claim is a further attempt at the same work.
FURTHER_ATTEMPTS = frozenset({ClaimEnd.EXPIRED, ClaimEnd.FAILED, ClaimEnd.RELEASED})


class ClaimQuerySet(TenantQuerySet["Claim"]):
    def visible_to(self, viewer: Viewer) -> Self:
        """Return the claims of tasks that are visible and not in the trash."""
        rows = self.filter(task__deleted_at__isnull=True)
        projects = Claim.project_model()
        if viewer.is_staff and viewer.project_ids is None:
            return rows.filter(task__project__deleted_at__isnull=True)
        return rows.filter(task__project__in=projects.objects.visible_to(viewer))


def is_open() -> Q:
    """Return the condition that a claim holds its task now, by the clock of the database.

    A claim whose time is over is lost, although it has no `ended_at` until the next request that
    claims or changes the task. So is that of a deactivated user.
    """
    return Q(ended_at__isnull=True, expires_at__gt=DatabaseTime(), user__is_active=True)


ClaimManager = TenantManager.from_queryset(ClaimQuerySet)


class Claim(TenantModel):
    """The lease of a task by one worker, until `expires_at` or until it is ended."""

    task = TenantFK("tasks.Task", models.CASCADE, related_name="claims")
    user = TenantFK(User, models.PROTECT, related_name="claims")
    worker = models.CharField(max_length=MAX_WORKER_LENGTH, blank=True)  # as the client names it
    fence = models.PositiveIntegerField()  # grows with each claim of the task
    attempt = models.PositiveIntegerField()  # of the same work, from 1
    ttl_seconds = models.PositiveIntegerField(default=DEFAULT_TTL)
    expires_at = models.DateTimeField()
    heartbeat_at = models.DateTimeField()  # when it began, or was last extended
    progress = models.PositiveSmallIntegerField(null=True)  # percent
    note = models.CharField(max_length=MAX_NOTE_LENGTH, blank=True)
    cancel_requested_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    end = models.CharField(max_length=11, choices=ClaimEnd, null=True)
    # What the worker was answered when it ended the claim. A repeated request gets the same.
    result: Any = models.JSONField(null=True)
    # What the task gets back when the claim is given back or has expired.
    assignee_before = TenantFK(User, models.SET_NULL, null=True, related_name="+")
    status_before = models.CharField(max_length=11)
    # Whether the task was given to a person after this claim, because of too many attempts.
    handed_over_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField()

    objects: ClassVar = ClaimManager()

    if TYPE_CHECKING:  # lock_claims() sets these
        is_open_now: bool
        database_time: datetime

    class Meta:
        base_manager_name = "objects"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "task"],
                condition=Q(ended_at__isnull=True),
                name="claim_open_key",  # a task has one open claim
                violation_error_message=gettext_lazy("Another worker has claimed the task."),
            ),
            models.UniqueConstraint(fields=["tenant", "task", "fence"], name="claim_fence_key"),
            models.CheckConstraint(
                name="claim_ttl_is_allowed", condition=Q(ttl_seconds__range=(MIN_TTL, MAX_TTL))
            ),
            models.CheckConstraint(
                name="claim_progress_is_percent",
                condition=Q(progress__isnull=True) | Q(progress__lte=MAX_PROGRESS),
            ),
            models.CheckConstraint(
                name="claim_end_is_known",
                condition=Q(end__isnull=True) | Q(end__in=ClaimEnd.values),
            ),
            models.CheckConstraint(
                name="claim_end_has_a_time",
                condition=Q(end__isnull=True, ended_at__isnull=True)
                | Q(end__isnull=False, ended_at__isnull=False),
            ),
        ]
        indexes = [
            # the list of claims: all, of one user, and those that have not ended
            models.Index(fields=["tenant", "id"], name="claim_in_order_of_id"),
            models.Index(fields=["tenant", "user", "id"], name="claim_by_user"),
            models.Index(
                fields=["tenant", "id"], name="claim_not_ended", condition=Q(ended_at__isnull=True)
            ),
            # before a user is deleted
            models.Index(
                fields=["tenant", "assignee_before"],
                name="claim_by_former_assignee",
                condition=Q(assignee_before__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"claim {self.pk}"

    @classmethod
    def project_model(cls) -> Any:
        """Return the model of projects. The module of tasks imports this one."""
        task_model: Any = cls._meta.get_field("task").related_model
        return task_model._meta.get_field("project").related_model


@with_tenant_parameter
def _locked_claims(ids: IdArray) -> models.QuerySet[Claim]:
    rows = with_present_state(Claim.objects.filter(IsInIds("pk", ids)).select_related("user"))
    return rows.order_by("pk").select_for_update(of=("self",), no_key=True)


LOCKED_CLAIMS_QUERY = QueryCache(_locked_claims)


def with_present_state(claims: models.QuerySet[Claim]) -> models.QuerySet[Claim]:
    """Return the claims with `is_open_now` and `database_time`."""
    is_open_now = ExpressionWrapper(is_open(), models.BooleanField())
    state: dict[str, Any] = {"is_open_now": is_open_now, "database_time": DatabaseTime()}
    return claims.annotate(**state)


def lock_claims(ids: Iterable[int]) -> dict[int, Claim]:
    """Lock the claims with these ids, and return them by id as they are then. One statement.

    Whoever changes the task, too, locks the task first. Unknown ids are left out.
    """
    rows = LOCKED_CLAIMS_QUERY.fetch_objects((), IdArray(tuple(sorted(ids))))
    return {claim.pk: claim for claim in rows}


@with_tenant_parameter
def _all_claims() -> models.QuerySet[Claim]:
    claims: models.QuerySet[Claim] = Claim.objects.all()
    return claims


def store_claim(claim: Claim, **values: object) -> None:
    """Set columns of a locked claim. The statement is sent with the next one."""
    for name, value in values.items():
        setattr(claim, name, value)
    update(_all_claims, claim.pk, values)


def end_claims(claims: Iterable[Claim], end: ClaimEnd) -> None:
    """End locked claims in the same way. One statement, or none."""
    ids = [claim.pk for claim in claims]
    if ids:
        Claim.objects.filter(pk__in=ids).update(end=end, ended_at=DatabaseTime())


def insert_claims(claims: list[Claim]) -> None:
    """Insert new claims of locked tasks. One statement."""
    Claim.objects.bulk_create(claims)


def mark_handed_over(claims: Iterable[Claim]) -> None:
    """Store that the tasks of locked claims were given to people after them. One statement."""
    ids = [claim.pk for claim in claims]
    Claim.objects.filter(pk__in=ids).update(handed_over_at=DatabaseTime())
