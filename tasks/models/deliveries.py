"""The deliveries of webhooks, and the queue that tells deliverers where to look."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, Self

from django.db import models
from django.db.models import Count, Exists, F, Min, OuterRef, Q, Sum
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from taskflow.audit.webhooks.client import SHOWN_BYTES, Answer
from taskflow.db.creation_time import CreationTime
from taskflow.tenancy import TenantFK, TenantManager, TenantModel, TenantQuerySet
from tasks.models.webhooks import Webhook, WebhookState

if TYPE_CHECKING:
    from taskflow.db.viewer import Viewer

DELIVERY_RETENTION = timedelta(days=30)  # after which `purge` deletes finished deliveries
MAX_ERROR_LENGTH = 300  # characters
PING = "ping"  # the type of a delivery without events
FIRST_SCAN = datetime(1970, 1, 1, tzinfo=UTC)  # due at once
IDLE_SCAN = timedelta(minutes=10)  # after which a deliverer looks into a tenant in any case


class DeliveryState(models.TextChoices):
    """What has become of a delivery. `withheld`: its owner may not see the events any more."""

    PENDING = "pending", _("Pending")
    DELIVERED = "delivered", _("Delivered")
    WITHHELD = "withheld", _("Withheld")


def make_message_id() -> str:
    """Return a new `webhook-id`. Receivers recognize a repeated delivery by it."""
    return f"msg_{secrets.token_hex(16)}"


class DeliveryQuerySet(TenantQuerySet["Delivery"]):
    def visible_to(self, viewer: Viewer) -> Self:
        """Return the deliveries of the webhooks that the viewer may manage."""
        return self.filter(webhook__in=Webhook.objects.visible_to(viewer))

    def pending(self) -> Self:
        return self.filter(state=DeliveryState.PENDING)

    def first_of_subjects(self) -> Self:
        """Return the pending deliveries without an earlier one of the same subject and webhook that
        is pending too.
        """
        earlier = Delivery.objects.pending().filter(
            webhook=OuterRef("webhook"),
            subject_type=OuterRef("subject_type"),
            subject_id=OuterRef("subject_id"),
            pk__lt=OuterRef("pk"),
        )
        return self.pending().filter(~Exists(earlier))

    def sendable(self, now: datetime) -> Self:
        """Return the deliveries that can be sent now: due, not leased, of a webhook that sends, and
        the first of their subjects.
        """
        return self.first_of_subjects().filter(
            Q(leased_until__isnull=True) | Q(leased_until__lte=now),
            next_attempt_at__lte=now,
            webhook__state=WebhookState.ACTIVE,
            webhook__owner__is_active=True,
        )

    def lease(self, deliveries: list[Delivery], lease: str, until: datetime) -> None:
        """Reserve locked deliveries for one deliverer. It loses them at `until`."""
        self.filter(pk__in=[delivery.pk for delivery in deliveries]).update(
            lease=lease, leased_until=until
        )
        for delivery in deliveries:
            delivery.lease = lease

    def add(self, deliveries: list[Delivery]) -> None:
        """Store new deliveries, each with a new `webhook-id`."""
        for delivery in deliveries:
            delivery.message_id = make_message_id()
        self.bulk_create(deliveries)

    def record_attempt(
        self, delivery: Delivery, answer: Answer, state: DeliveryState, next_at: datetime
    ) -> bool:
        """Store what an attempt has led to. Return False if another deliverer has the lease now."""
        now = timezone.now()
        leased = self.filter(pk=delivery.pk, lease=delivery.lease, leased_until__isnull=False)
        return bool(
            leased.update(
                state=state,
                attempts=F("attempts") + 1,
                retries=F("retries") + 1,
                next_attempt_at=next_at,
                leased_until=None,
                response_status=answer.status,
                response_start=answer.text[:SHOWN_BYTES],
                error=answer.error[:MAX_ERROR_LENGTH],
                duration_ms=round(answer.seconds * 1000),
                attempted_at=now,
                finished_at=None if state == DeliveryState.PENDING else now,
            )
        )

    def withhold(self, delivery: Delivery) -> None:
        """End a delivery whose events its owner may not see any more, without sending it."""
        self.filter(pk=delivery.pk, lease=delivery.lease).update(
            state=DeliveryState.WITHHELD, leased_until=None, finished_at=timezone.now()
        )

    def make_due(self) -> int:
        """Try these deliveries again at once, for another 24 hours. Return how many there are."""
        return self.update(
            state=DeliveryState.PENDING,
            retries=0,
            next_attempt_at=timezone.now(),
            leased_until=None,
            finished_at=None,
        )

    def finished(self, before: datetime) -> Self:
        """Return the deliveries that were finished before this time."""
        return self.filter(finished_at__lt=before)

    def forget_finished(self, before: datetime) -> int:
        """Delete the deliveries that were finished before this time. Return how many."""
        return self.finished(before)._raw_delete(self.db) or 0


class Delivery(TenantModel):
    """Events of one request about one subject, for one webhook, or a ping without events.

    Its body is built from the events for each attempt, so that it contains what the owner may see
    then. `message_id` stays the same. While it is pending, later ones of its subject wait.
    """

    webhook = TenantFK(Webhook, models.CASCADE, related_name="deliveries")
    message_id = models.CharField(max_length=40)
    event_type = models.CharField(max_length=81)  # of the last event, or ping
    subject_type = models.CharField(max_length=40, blank=True)
    subject_id = models.BigIntegerField(default=0)
    event_ids = models.JSONField(default=list)  # in the order of the feed
    state = models.CharField(max_length=9, choices=DeliveryState, default=DeliveryState.PENDING)
    attempts = models.PositiveIntegerField(default=0)
    retries = models.PositiveIntegerField(default=0)  # attempts since it was made due
    next_attempt_at = models.DateTimeField(default=timezone.now)
    lease = models.CharField(max_length=32, blank=True)
    leased_until = models.DateTimeField(null=True)
    response_status = models.PositiveSmallIntegerField(null=True)  # of the last attempt, as below
    response_start = models.TextField(blank=True, max_length=SHOWN_BYTES)
    error = models.CharField(max_length=MAX_ERROR_LENGTH, blank=True)
    duration_ms = models.PositiveIntegerField(null=True)
    attempted_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    created_at = CreationTime()

    objects: ClassVar = TenantManager.from_queryset(DeliveryQuerySet)()

    class Meta:
        base_manager_name = "objects"
        constraints = [
            models.CheckConstraint(
                name="delivery_state_is_known", condition=Q(state__in=DeliveryState.values)
            ),
        ]
        indexes = [
            # the log of a webhook, and deleting one
            models.Index(fields=["tenant", "webhook", "id"], name="delivery_log"),
            # the deliveries that deliverers look for
            models.Index(
                fields=["tenant", "next_attempt_at"],
                name="delivery_due",
                condition=Q(state=DeliveryState.PENDING),
            ),
            # whether an earlier one of the subject is pending
            models.Index(
                fields=["tenant", "webhook", "subject_type", "subject_id", "id"],
                name="delivery_order",
                condition=Q(state=DeliveryState.PENDING),
            ),
            # the retention
            models.Index(
                fields=["tenant", "finished_at"],
                name="delivery_age",
                condition=Q(finished_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.message_id


class DeliveryQueue(models.Model):
    """Tenants with webhooks, one row each, so that a deliverer need not look into all tenants.

    It belongs to no tenant, and contains numbers only. `due_at` is when a deliverer has to look
    into the tenant at the latest, even without new events. /metrics reads the other columns.
    """

    tenant_key = models.BigIntegerField(primary_key=True)  # the id of the tenant
    due_at = models.DateTimeField(default=FIRST_SCAN)
    waiting = models.PositiveIntegerField(default=0)  # deliveries that are pending
    oldest_at = models.DateTimeField(null=True)  # when the oldest of them was created

    class Meta:
        indexes = [models.Index(fields=["due_at"], name="delivery_queue_due")]

    def __str__(self) -> str:
        return f"deliveries of tenant {self.tenant_key}"

    @classmethod
    def add(cls, tenant_id: int) -> None:
        """Make deliverers look into this tenant, at once."""
        rows = cls._default_manager
        if not rows.filter(pk=tenant_id).update(due_at=FIRST_SCAN):
            rows.bulk_create([cls(tenant_key=tenant_id)], ignore_conflicts=True)

    @classmethod
    def read_backlog(cls) -> tuple[int, float]:
        """Return how many deliveries of all tenants are pending, and the age of the oldest in
        seconds. As of the last time that a deliverer has looked into each tenant.
        """
        sums = cls._default_manager.aggregate(n=Sum("waiting"), oldest=Min("oldest_at"))
        oldest = sums["oldest"]
        age = 0.0 if oldest is None else (timezone.now() - oldest).total_seconds()
        return sums["n"] or 0, max(0.0, age)

    @classmethod
    def store(cls, tenant_id: int, *, is_busy: bool = False, is_counted: bool = True) -> None:
        """Store what is pending in the tenant of the unit of work, and when to look again: at once
        as long as it `is_busy`.

        Counting, and finding the time, read all pending deliveries. Without `is_counted` the former
        numbers stay. A tenant without webhooks leaves the queue.
        """
        rows = cls._default_manager.filter(pk=tenant_id)
        if not Webhook.objects.exists():
            rows.delete()
            return
        values: dict[str, object] = {"due_at": timezone.now() if is_busy else _find_next()}
        if is_counted:
            pending = Delivery.objects.pending()
            values |= pending.aggregate(waiting=Count("pk"), oldest_at=Min("created_at"))
        rows.update(**values)


def _find_next() -> datetime:
    """Return when the next delivery can be sent, or the lease of one ends."""
    active = Delivery.objects.first_of_subjects().filter(webhook__state=WebhookState.ACTIVE)
    times = active.aggregate(
        due=Min("next_attempt_at", filter=Q(leased_until__isnull=True)), lease=Min("leased_until")
    )
    next_at: datetime = min(filter(None, [*times.values(), timezone.now() + IDLE_SCAN]))
    return next_at
