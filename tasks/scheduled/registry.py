"""The timed tasks: what is done after some time, without a request. Add new ones here."""

from __future__ import annotations

from datetime import timedelta

from tasks.scheduled.digests import send_digests
from tasks.scheduled.notifying import make_notifications
from tasks.scheduled.purging import purge_events, purge_expired, purge_tenants, purge_trash
from tasks.scheduled.runner import TimedTask

DAILY = timedelta(days=1)
MINUTELY = timedelta(minutes=1)
HOURLY = timedelta(hours=1)
# Each name is also in SCHEDULED_TASKS of taskflow/metrics/definitions.py.
TIMED_TASKS = (
    TimedTask("purge_trash", DAILY, purge_trash),
    TimedTask("purge_tenants", HOURLY, purge_tenants),
    TimedTask("purge_expired", HOURLY, purge_expired),
    TimedTask("purge_events", DAILY, purge_events),
    TimedTask("make_notifications", MINUTELY, make_notifications),
    TimedTask("send_digests", timedelta(minutes=5), send_digests),
)
