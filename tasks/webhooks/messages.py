"""The requests of deliveries, in the form of https://www.standardwebhooks.com."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from accounts.models import Tenant
from accounts.schemas.events import EventResponse, build_event_response
from taskflow.audit.actor import Actor
from taskflow.audit.history import USERS_OF_EVENT, read_history
from taskflow.audit.models import Event
from taskflow.audit.visibility import select_visible_events
from taskflow.audit.webhooks.signatures import sign
from taskflow.db.query import QueryCache
from taskflow.db.statements import IdArray, IsInIds
from taskflow.db.viewer import Viewer
from taskflow.tenancy import with_tenant_parameter
from tasks.models import Delivery, Webhook
from tasks.models.deliveries import PING
from tasks.webhooks.reading import view_as_owner

USER_AGENT = "TaskFlow-Webhooks"


@dataclass(frozen=True)
class Message:
    """What is sent: it has no connection to the database, so that a thread can send it."""

    delivery: Delivery
    tenant_id: int
    url: str
    secrets: Sequence[str]
    body: bytes

    def build_headers(self, now: datetime) -> dict[str, str]:
        """Return the headers of an attempt at this time."""
        timestamp = int(now.timestamp())
        message_id = self.delivery.message_id
        return {
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(self.secrets, message_id, timestamp, self.body),
        }


def build_messages(
    tenant: Tenant, webhook: Webhook, deliveries: Sequence[Delivery]
) -> dict[int, Message | None]:
    """Return the messages of deliveries by their ids, with the events that the owner may see now.

    None for a delivery without such an event. Load the webhook with its owner. A few statements,
    whatever the number of deliveries.
    """
    events = _read_events(tenant, webhook, [pk for d in deliveries for pk in d.event_ids])
    secrets = webhook.list_secrets(timezone.now())
    messages: dict[int, Message | None] = {}
    for delivery in deliveries:
        body = _build_body(delivery, [events[pk] for pk in delivery.event_ids if pk in events])
        message = Message(delivery, tenant.pk, webhook.url, secrets, body) if body else None
        messages[delivery.pk] = message
    return messages


def _build_body(delivery: Delivery, events: Sequence[Mapping[str, object]]) -> bytes | None:
    """Return the body of a delivery, or None without events, unless it is a ping."""
    if not events and delivery.event_type != PING:
        return None
    document = {
        "type": events[-1]["verb"] if events else PING,
        "timestamp": events[-1]["at"] if events else delivery.created_at.isoformat(),
        "data": {"events": events},
    }
    return json.dumps(document, ensure_ascii=False).encode()


def _read_events(
    tenant: Tenant, webhook: Webhook, ids: Sequence[int]
) -> dict[int, dict[str, object]]:
    """Return events as GET /events shows them to the owner, by id. Leaves out hidden ones."""
    if not ids:
        return {}
    viewer = view_as_owner(webhook)
    actor = Actor(webhook.owner, tenant, project_ids=viewer.project_ids)
    events = EVENTS_QUERY.fetch_objects((), viewer, IdArray(tuple(sorted(ids))))
    return {
        entry.event.pk: EventResponse.model_validate(build_event_response(entry)).model_dump(
            mode="json"
        )
        for entry in read_history(actor, events)
    }


@with_tenant_parameter
def _events_query(viewer: Viewer, ids: Any) -> QuerySet[Event]:
    events = Event.objects.filter(IsInIds("pk", ids))
    return select_visible_events(viewer, events).select_related(*USERS_OF_EVENT)


EVENTS_QUERY: QueryCache[Event] = QueryCache(_events_query)
