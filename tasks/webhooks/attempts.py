"""Lease deliveries, and record what sending them has led to. Each call is one short transaction."""

from __future__ import annotations

import logging
import random
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone

from accounts.models import Tenant
from taskflow.audit.webhooks.client import Answer
from taskflow.metrics.definitions import WEBHOOK_ATTEMPTS, WEBHOOK_DELAY, WEBHOOK_DURATION
from tasks.actions.webhooks import pause_webhook
from tasks.models import Delivery, Webhook
from tasks.models.deliveries import DeliveryState
from tasks.models.webhooks import PauseReason
from tasks.webhooks.messages import Message, build_messages
from tasks.webhooks.reading import act_as_system

log = logging.getLogger("taskflow.webhooks")
# Longer than an attempt and the record of it, so that no other deliverer sends meanwhile.
LEASE = timedelta(seconds=60)
# Seconds from each failed attempt to the next one. After 24 hours the webhook is paused.
RETRY_DELAYS = (5, 30, 120, 600, 1800, 3600, 7200, 14_400, 14_400, 14_400, 14_400, 14_400)
JITTER = 0.2  # of a delay, so that the deliveries of a failed receiver do not return together
# Deliveries of one webhook that one deliverer sends at a time, and when it fails again and again:
# a receiver that hangs must not hold all threads.
MAX_SENDING, MAX_SENDING_TO_FAILING = 16, 1
FAILING = 5  # failed attempts in a row


@dataclass(frozen=True)
class Attempt:
    """A delivery that was sent, and what it has led to."""

    message: Message
    answer: Answer


def lease_messages(tenant: Tenant, free: int, sending: Counter[int]) -> list[Message]:
    """Lease up to `free` deliveries that can be sent now, and return their messages.

    `sending` counts the deliveries that this deliverer sends now, by the id of the webhook.
    Deliveries whose events their owner may not see any more are withheld. Two statements for each
    webhook, and a few for its messages.
    """
    messages: list[Message] = []
    now = timezone.now()
    pending = Delivery.objects.sendable(now).values("webhook")
    for webhook in Webhook.objects.sending().filter(pk__in=pending).select_related("owner"):
        limit = MAX_SENDING if webhook.failure_count < FAILING else MAX_SENDING_TO_FAILING
        leased = _lease(webhook, min(limit - sending[webhook.pk], free - len(messages)))
        built = build_messages(tenant, webhook, leased)
        for delivery in leased:
            message = built[delivery.pk]
            if message is None:
                Delivery.objects.all().withhold(delivery)
                WEBHOOK_ATTEMPTS.add(labels=("withheld",))
            else:
                messages.append(message)
    return messages


def _lease(webhook: Webhook, count: int) -> Sequence[Delivery]:
    """Lease the next deliveries of a webhook, the earliest first."""
    if count <= 0:
        return ()
    now = timezone.now()
    due = Delivery.objects.sendable(now).filter(webhook=webhook).order_by("pk")
    rows = list(due.select_for_update(skip_locked=True, no_key=True, of=("self",))[:count])
    if rows:
        Delivery.objects.all().lease(rows, secrets.token_hex(16), now + LEASE)
    return rows


def record_attempts(tenant: Tenant, attempts: Sequence[Attempt]) -> None:
    """Store the results of attempts, in the unit of work of their tenant."""
    succeeded = {a.message.delivery.webhook_id for a in attempts if a.answer.is_success}
    for attempt in attempts:
        _record(tenant, attempt.message.delivery, attempt.answer)
    for webhook_id in sorted(succeeded):
        Webhook.objects.all().forget_failures(webhook_id)


def _record(tenant: Tenant, delivery: Delivery, answer: Answer) -> None:
    if answer.is_success:
        Delivery.objects.all().record_attempt(
            delivery, answer, DeliveryState.DELIVERED, timezone.now()
        )
    else:
        delay = RETRY_DELAYS[min(delivery.retries, len(RETRY_DELAYS) - 1)]
        next_at = timezone.now() + timedelta(seconds=delay * random.uniform(1 - JITTER, 1 + JITTER))  # noqa: S311 - not a secret
        is_recorded = Delivery.objects.all().record_attempt(
            delivery, answer, DeliveryState.PENDING, next_at
        )
        Webhook.objects.all().count_failure(delivery.webhook_id)
        if is_recorded and delivery.retries >= len(RETRY_DELAYS):
            _pause(tenant, delivery)


def _pause(tenant: Tenant, delivery: Delivery) -> None:
    """Pause the webhook of a delivery that was not accepted for 24 hours."""
    webhook = Webhook.objects.filter(pk=delivery.webhook_id).first()
    if webhook is not None:
        log.warning("webhook %s is paused: its receiver failed for 24 hours", webhook.pk)
        pause_webhook(act_as_system(tenant), webhook, PauseReason.FAILED)


def count_attempt(attempt: Attempt) -> None:
    """Count an attempt for /metrics."""
    answer, delivery = attempt.answer, attempt.message.delivery
    result = "refused" if answer.status is not None else "unanswered"
    WEBHOOK_ATTEMPTS.add(labels=("delivered" if answer.is_success else result,))
    WEBHOOK_DURATION.observe(answer.seconds)
    if answer.is_success:
        WEBHOOK_DELAY.observe((timezone.now() - delivery.created_at).total_seconds())
