"""
Makes notifications from the event log.

For each tenant, a row stores how far the log is read. The notifications of some events are stored
in the transaction that moves this position, and the row is locked meanwhile. So no event is left
out and none is read twice, whenever a process is killed and however many run. Whether the user may
see what a notification is about is checked when it is shown, not here: that can change.
"""

from __future__ import annotations

from datetime import timedelta

from django.db.models import OuterRef, QuerySet, Subquery
from django.db.models.functions import TruncDate
from django.utils import timezone

from accounts.models import Tenant
from taskflow.audit.feed import BEGINNING, FeedPage, latest_cursor, read_events
from taskflow.audit.last_events import cursor_of_position, select_last_position
from taskflow.db.batches import pause_for_writers
from taskflow.db.viewer import Viewer
from taskflow.http.errors import Gone
from taskflow.tenancy import inside
from tasks.models.notifications import NotificationPosition
from tasks.scheduled.notification_drafts import (
    draft_notifications,
    draft_overdue,
    store_notifications,
)
from tasks.scheduled.overdue import find_overdue, select_due_dates, select_due_days
from tasks.scheduled.runner import TaskRun
from tasks.scheduled.tenants import find_tenants, has_rows, times_of_zones

EVENTS = 200  # of one transaction
# Events that are so much older than the first run make no notifications: the log may be long, and
# the installation may be older than notifications are.
FIRST_RUN = timedelta(days=1)
ALL_EVENTS = Viewer(0, is_staff=True)


def make_notifications(run: TaskRun) -> None:
    """Make the notifications of new events and of overdue tasks, for all active tenants."""

    def work(tenant: Tenant) -> None:
        if tenant.is_active and has_news(tenant):
            while notify_some(tenant):
                run.check()
                pause_for_writers()

    run.for_each(find_tenants("find tenants with new events or overdue tasks", choose_news), work)


def choose_news(tenants: QuerySet[Tenant]) -> list[int]:
    """Return the ids of the active tenants for which has_news() may be true.

    One statement for each time zone, and one more.
    """
    ids: list[int] = []
    now = timezone.now()
    position = NotificationPosition.objects.filter(tenant=OuterRef("pk"))
    cursor, until = (Subquery(position.values(n)[:1]) for n in ("cursor", "overdue_until"))
    for zone, local in times_of_zones(tenants, now):
        is_overdue = has_rows(select_due_dates(OuterRef("_until"), now)) | has_rows(
            select_due_days(OuterRef("_first"), local.date())
        )
        rows = (
            tenants.filter(time_zone=zone, is_active=True)
            .annotate(_until=until, _first=TruncDate(until, tzinfo=local.tzinfo))
            .annotate(_is_overdue=is_overdue)
            .values_list("pk", "event_id_shifts", cursor, select_last_position(), "_is_overdue")
        )
        ids += [
            pk
            for pk, shifts, read, last, has_overdue in rows
            if read is None or has_overdue or read != cursor_of_position(last, shifts)
        ]
    return ids


def has_news(tenant: Tenant) -> bool:
    """Return whether there are new events or overdue tasks. At most four statements, and none of
    them writes.
    """
    with inside(tenant, read_only=True):
        position = NotificationPosition.objects.first()
        if position is None or position.cursor != latest_cursor():
            return True
        overdue = find_overdue(tenant, position.overdue_until, timezone.now())
        return next(overdue, None) is not None


def notify_some(tenant: Tenant) -> bool:
    """Make the notifications of the next events, in one transaction. After the last event, also
    those of overdue tasks. Return whether there is more to do.
    """
    now = timezone.now()
    with inside(tenant):
        position = NotificationPosition.lock(BEGINNING, now)
        if position is None:
            return False  # another process is at work
        page = _read_page(position.cursor)
        since = position.overdue_until - FIRST_RUN
        events = [event for event in page.events if event.created_at > since]
        drafts = draft_notifications(tenant, events, position.overdue_until)
        if not page.has_more:
            overdue = find_overdue(tenant, position.overdue_until, now)
            drafts += [draft_overdue(tenant, task) for task in overdue]
            position.overdue_until = now
        store_notifications(drafts)
        position.cursor = page.next_cursor
        position.store()
    return page.has_more


def _read_page(cursor: str) -> FeedPage:
    """Return the next events. If the log does not hold the last one any more, begin with its
    oldest.
    """
    try:
        return read_events(ALL_EVENTS, cursor, limit=EVENTS)
    except Gone:
        return read_events(ALL_EVENTS, BEGINNING, limit=EVENTS)
