"""Create, change, pause and resume webhooks, and send deliveries again.

Each action leaves an event, which also wakes the deliverers. No undo takes one back: its events
belong to no resource type.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext, gettext_noop

from taskflow.audit.actor import Actor
from taskflow.audit.feed import latest_cursor
from taskflow.audit.recorder import change, create, lock, record, remove
from taskflow.audit.resource_types import resource_types
from taskflow.audit.verbs import EVENT_VERBS, register_event_verb
from taskflow.audit.webhooks.signatures import make_salt
from taskflow.http.errors import Conflict, Forbidden, Invalid, NotFound
from tasks.models import Delivery, DeliveryQueue, Project, Webhook
from tasks.models.deliveries import PING
from tasks.models.webhooks import ROTATION_OVERLAP, PauseReason, WebhookState
from tasks.rules import require_webhook_manager

for _verb, _sentence in {
    "rotated": "replaced the secret of the webhook",
    "paused": "paused the webhook",
    "resumed": "resumed the webhook",
    "pinged": "sent a ping to the webhook",
    "redelivered": "sent a delivery of the webhook again",
    "skipped": "skipped events that the log does not hold any more",
}.items():
    register_event_verb("webhook", _verb, _sentence)


def create_webhook(
    actor: Actor,
    *,
    url: str,
    project: Project | None = None,
    event_types: Sequence[str] | None = None,
) -> Webhook:
    """Send the events from now on to a URL: those of a project, or of the tenant without one.

    The actor becomes its owner, and it sends what the owner may see. Its `secret` is shown once.
    Raises Forbidden for who may not manage webhooks there, and for operators.
    """
    require_webhook_manager(actor, project)
    if actor.member is None:
        raise Forbidden(
            gettext_noop(
                "An operator owns no webhook in a tenant. An administrator of it can create one."
            )
        )
    _check_event_types(event_types or ())
    webhook = Webhook(
        owner=actor.member,
        project=project,
        url=url,
        event_types=event_types and sorted(set(event_types)),
        salt=make_salt(actor.entropy),
        cursor=latest_cursor(),
    )
    create(actor, webhook)
    DeliveryQueue.add(actor.tenant.pk)
    return webhook


def update_webhook(actor: Actor, webhook: Webhook, **values: Any) -> Webhook:
    """Change the URL or the event types. Deliveries that wait are sent to the new URL."""
    require_webhook_manager(actor, webhook.project)
    if types := values.get("event_types"):
        _check_event_types(types)
        values["event_types"] = sorted(set(types))
    return change(actor, webhook, **values)


def delete_webhook(actor: Actor, webhook: Webhook) -> None:
    """Delete the webhook with its deliveries."""
    require_webhook_manager(actor, webhook.project)
    lock(webhook)
    remove(actor, webhook)


def rotate_secret(actor: Actor, webhook: Webhook) -> Webhook:
    """Replace the secret. For 24 hours, deliveries have signatures of both."""
    require_webhook_manager(actor, webhook.project)
    lock(webhook, "salt")
    return change(
        actor,
        webhook,
        "rotated",
        salt=make_salt(actor.entropy),
        former_salt=webhook.salt,
        former_until=timezone.now() + ROTATION_OVERLAP,
    )


def pause_webhook(
    actor: Actor, webhook: Webhook, reason: PauseReason = PauseReason.REQUESTED
) -> Webhook:
    """Send nothing until the webhook is resumed. Pausing twice changes nothing."""
    require_webhook_manager(actor, webhook.project)
    lock(webhook, "state")
    if webhook.state == WebhookState.PAUSED:
        return webhook
    return change(actor, webhook, "paused", state=WebhookState.PAUSED, pause_reason=reason)


def resume_webhook(actor: Actor, webhook: Webhook) -> Webhook:
    """Go on from where the webhook has stopped. Deliveries that wait are tried at once.

    Resuming an active one changes nothing. Raises Conflict if its owner is deactivated.
    """
    require_webhook_manager(actor, webhook.project)
    lock(webhook, "state")
    if webhook.state == WebhookState.ACTIVE:
        return webhook
    if not webhook.owner.is_active:
        raise Conflict(
            gettext(
                "%(owner)s, who owns the webhook, is deactivated. Create a new one in its place."
            )
            % {"owner": webhook.owner}
        )
    change(actor, webhook, "resumed", state=WebhookState.ACTIVE, pause_reason=None)
    Delivery.objects.pending().filter(webhook=webhook).make_due()
    DeliveryQueue.add(actor.tenant.pk)
    return webhook


def ping(actor: Actor, webhook: Webhook) -> Delivery:
    """Send a delivery without events, to test the receiver. Return it; it is sent soon after.

    Raises Conflict for a paused webhook.
    """
    require_webhook_manager(actor, webhook.project)
    lock(webhook, "state")
    if webhook.state == WebhookState.PAUSED:
        raise Conflict(gettext_noop("The webhook is paused. Resume it first."))
    delivery = Delivery(webhook=webhook, event_type=PING)
    Delivery.objects.add([delivery])
    record(actor, webhook, "pinged")
    DeliveryQueue.add(actor.tenant.pk)
    return delivery


def redeliver(actor: Actor, delivery: Delivery) -> Delivery:
    """Send a delivery again soon, with the same `webhook-id`. A paused webhook sends it later.

    Raises NotFound if it was deleted meanwhile, as old ones are.
    """
    webhook = delivery.webhook
    require_webhook_manager(actor, webhook.project)
    lock(webhook)
    if not Delivery.objects.filter(pk=delivery.pk).make_due():
        raise NotFound(gettext_noop("There is no such delivery."))
    record(actor, webhook, "redelivered")
    DeliveryQueue.add(actor.tenant.pk)
    delivery.refresh_from_db()
    return delivery


def _check_event_types(names: Sequence[str]) -> None:
    """Raise Invalid for a type of events that no object can have, which would never be sent."""
    known = {*resource_types(), *(subject_type for subject_type, _ in EVENT_VERBS)}
    for position, name in enumerate(names):
        if name.partition(".")[0] not in known:
            raise Invalid.field(
                f"event_types/{position}",
                gettext(
                    "There are no events of the type “%(name)s”. It begins with the type of an"
                    " object: %(types)s."
                )
                % {"name": name, "types": ", ".join(sorted(resource_types()))},
            )
