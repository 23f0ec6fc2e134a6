"""From the feed of events to deliveries.

A webhook reads the feed from its cursor on. Its deliveries are stored in the transaction that moves
the cursor, so that no event is missed or sent in two deliveries, whenever a deliverer is killed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import groupby

from accounts.models import Tenant, User
from taskflow.audit.actor import Actor
from taskflow.audit.feed import BEGINNING, FeedFilters, FeedPage, latest_cursor, read_events
from taskflow.audit.models import Event, Via
from taskflow.audit.recorder import record
from taskflow.db.viewer import Viewer
from taskflow.http.errors import Gone
from tasks.actions.webhooks import pause_webhook
from tasks.models import Delivery, Webhook
from tasks.models.webhooks import PauseReason, WebhookState

log = logging.getLogger("taskflow.webhooks")
PAGE = 200  # events of one read
MAX_PAGES = 10  # of one webhook in one transaction, so that it stays short


def act_as_system(tenant: Tenant) -> Actor:
    """Return the actor of what a deliverer changes by itself: no user and no operator."""
    return Actor(User(is_superuser=True), tenant, via=Via.COMMAND)


def view_as_owner(webhook: Webhook) -> Viewer:
    """Return the viewer that decides which events a webhook sends. Load it with its owner."""
    project_ids = None if webhook.project_id is None else (webhook.project_id,)
    return Viewer(webhook.owner.pk, webhook.owner.is_staff, project_ids)


def has_news() -> bool:
    """Return whether a webhook of the tenant has events to read, or should be paused.

    Two statements, and none of them writes.
    """
    active = Webhook.objects.filter(state=WebhookState.ACTIVE)
    rows = list(active.values_list("cursor", "owner__is_active"))
    if not rows:
        return False
    latest = latest_cursor()
    return any(cursor != latest or not is_active for cursor, is_active in rows)


def read_news(tenant: Tenant) -> bool:
    """Add deliveries for the new events of all webhooks, in the unit of work of the tenant.

    Webhooks that another deliverer reads now are left out. Return whether there may be more.
    """
    active = Webhook.objects.filter(state=WebhookState.ACTIVE).select_related("owner")
    locked = active.select_for_update(skip_locked=True, no_key=True, of=("self",))
    is_behind = False
    for webhook in locked.order_by("pk"):
        if webhook.owner.is_active:
            is_behind |= read_for(tenant, webhook)
        else:
            pause_webhook(act_as_system(tenant), webhook, PauseReason.OWNER_DEACTIVATED)
    return is_behind


def read_for(tenant: Tenant, webhook: Webhook) -> bool:
    """Add deliveries for the new events of a webhook, which is locked. Return whether there may be
    more.
    """
    for _ in range(MAX_PAGES):
        page = _read_page(tenant, webhook)
        events, cursor = _cut_last_request(page)
        Delivery.objects.add([_build(webhook, group) for group in _group(events)])
        if cursor != webhook.cursor:
            webhook.cursor = cursor
            Webhook.objects.all().store_cursor(webhook, cursor)
        if not page.has_more:
            return False
    return True


def _read_page(tenant: Tenant, webhook: Webhook) -> FeedPage:
    """Return the next events of the webhook. If the log does not hold them, begin with its oldest.

    That can happen to a webhook that was paused for longer than events are kept.
    """
    viewer, filters = view_as_owner(webhook), _filters_of(webhook)
    try:
        return read_events(viewer, webhook.cursor, filters, PAGE)
    except Gone:
        log.warning("webhook %s skips events that the log does not hold any more", webhook.pk)
        record(act_as_system(tenant), webhook, "skipped")
        return read_events(viewer, BEGINNING, filters, PAGE)


def _filters_of(webhook: Webhook) -> FeedFilters:
    pairs = [name.partition(".") for name in webhook.event_types or ()]
    return FeedFilters(
        projects=() if webhook.project_id is None else (webhook.project_id,),
        types=tuple((subject_type, verb) for subject_type, _, verb in pairs),
    )


def _cut_last_request(page: FeedPage) -> tuple[Sequence[Event], str]:
    """Return the events of the page, without the last request of which more may follow, and the
    cursor after them.

    A request that is longer than a page is not kept together.
    """
    if not page.has_more or not page.events:
        return page.events, page.next_cursor
    last = _transaction_of(page.events[-1])
    kept = [event for event in page.events if _transaction_of(event) != last]
    return (kept, kept[-1].cursor) if kept else (page.events, page.next_cursor)


def _transaction_of(event: Event) -> tuple[int, str]:
    return event.sequence, event.request_id


def _group(events: Sequence[Event]) -> Iterator[list[Event]]:
    """Yield the events of each subject in each request, in the order of their first events."""
    for _, of_request in groupby(events, _transaction_of):
        by_subject: dict[tuple[str, int], list[Event]] = {}
        for event in of_request:
            by_subject.setdefault((event.subject_type, event.subject_id), []).append(event)
        yield from by_subject.values()


def _build(webhook: Webhook, events: Sequence[Event]) -> Delivery:
    last = events[-1]
    return Delivery(
        webhook=webhook,
        event_type=f"{last.subject_type}.{last.verb}",
        subject_type=last.subject_type,
        subject_id=last.subject_id,
        event_ids=[event.pk for event in events],
    )
