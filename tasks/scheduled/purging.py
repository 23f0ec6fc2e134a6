"""Deletes what has outlived its time: rows in the trash, tenants, keys, sessions, deliveries,
events.

`serve` and `manage.py run_scheduled` run it as timed tasks, `manage.py purge` at once. All of it is
deleted in short transactions, so that writers do not wait for long.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore
from django.db.models import QuerySet
from django.utils import timezone

from accounts.actions.mail_tokens import delete_expired_mail_tokens, find_expired_mail_tokens
from accounts.actions.sessions import SESSION_RETENTION
from accounts.idempotency import delete_expired_records, find_expired_records
from accounts.limits import delete_old_counters
from accounts.models import Session, Tenant, User
from taskflow.audit.actor import Actor
from taskflow.audit.models import Via
from taskflow.audit.resource_types import ResourceType
from taskflow.audit.retention import delete_old_events, has_old_events
from taskflow.db.batches import MAX_WAIT, pause_for_writers
from taskflow.http.contention import run_with_retries
from taskflow.tenancy import inside
from tasks.actions.trash import purge_older
from tasks.export.deletion import delete_due_tenants
from tasks.export.unfinished import discard_leftovers
from tasks.models.deliveries import DELIVERY_RETENTION, Delivery
from tasks.models.notifications import NOTIFICATION_RETENTION, Notification
from tasks.models.registry import TRASHABLE_TYPES
from tasks.models.trash import TRASH_RETENTION
from tasks.scheduled.runner import TaskRun
from tasks.scheduled.tenants import find_tenants, find_tenants_with, ids_of

log = logging.getLogger("taskflow.scheduled")


def purge_trash(run: TaskRun) -> None:
    """Permanently delete the rows of all tenants that are in the trash for 30 days."""
    before = timezone.now() - TRASH_RETENTION

    def work(tenant: Tenant) -> None:
        for name, count in purge_trash_of(tenant, before, run.check).items():
            log.info("purged %d rows of type %s in tenant %s", count, name, tenant.pk)

    run.for_each(find_tenants_with_trash(before), work)


def purge_tenants(run: TaskRun) -> None:
    """Delete the tenants whose 30 days have passed, and what killed imports have left."""
    for name in purge_whole_tenants():
        log.info("deleted the tenant %s", name)
        run.check()


def purge_expired(run: TaskRun) -> None:
    """Delete expired keys, links, sessions, counters and the log of deliveries of all tenants."""
    delete_shared_leftovers()
    run.for_each(find_tenants_with_expired_rows(), delete_expired_rows)


def purge_events(run: TaskRun) -> None:
    """Delete the events of all tenants that are older than TASKFLOW_EVENT_RETENTION_DAYS."""

    def work(tenant: Tenant) -> None:
        if count := delete_old_events_of(tenant, run.check):
            log.info("deleted %d old events of tenant %s", count, tenant.pk)

    run.for_each(find_tenants_with_old_events(), work)


def find_tenants_with_old_events() -> Iterator[Tenant]:
    """Yield the tenants with events that are older than the retention; none without one."""
    before = _end_of_retention()
    if before is None:
        return iter(())
    return find_tenants(
        "find tenants with old events",
        lambda tenants: ids_of(tenants.filter(has_old_events(before))),
    )


def find_tenants_with_trash(before: datetime) -> Iterator[Tenant]:
    """Yield the tenants with rows that were deleted before that time."""
    return find_tenants_with(
        "find tenants with old rows in the trash",
        lambda: [t.model._base_manager.filter(deleted_at__lt=before) for t in TRASHABLE_TYPES],
    )


def find_tenants_with_expired_rows() -> Iterator[Tenant]:
    """Yield the tenants for which delete_expired_rows() has something to delete."""
    return find_tenants_with("find tenants with expired rows", _select_expired_rows)


def _end_of_retention() -> datetime | None:
    days = settings.EVENT_RETENTION_DAYS
    return None if days is None else timezone.now() - timedelta(days=days)


def delete_old_events_of(tenant: Tenant, check: Callable[[], None]) -> int:
    """Delete the events of a tenant that are older than the retention; none without one.

    Return how many. Calls `check` between two transactions.
    """
    before, count = _end_of_retention(), 0
    if before is None:
        return 0

    def delete() -> int:
        with inside(tenant, max_wait=MAX_WAIT):
            return delete_old_events(before)

    while deleted := run_with_retries(delete):
        count += deleted
        pause_for_writers()
        check()
    return count


def purge_trash_of(tenant: Tenant, before: datetime, check: Callable[[], None]) -> Counter[str]:
    """Permanently delete the rows of a tenant that were deleted before that time.

    Return how many of each type. Calls `check` between two transactions.
    """
    counts: Counter[str] = Counter()
    actor = Actor(User(is_superuser=True), tenant, via=Via.COMMAND)
    for resource_type in TRASHABLE_TYPES:
        while (is_complete := _purge_some(actor, resource_type, before)) is not None:
            counts[resource_type.name] += is_complete
            pause_for_writers()
            check()
    return +counts


def purge_whole_tenants() -> Iterator[str]:
    """Delete tenants whose time has passed, and unfinished imports. Yield the name of each."""
    discard_leftovers()
    for deleted in delete_due_tenants():
        yield deleted.name


def delete_shared_leftovers() -> None:
    """Delete browser sessions that have ended, and old counters, which belong to no tenant."""
    SessionStore.clear_expired()
    delete_old_counters()


def delete_expired_rows(tenant: Tenant) -> None:
    """Delete rows of the tenant that only matter for some time. One transaction."""
    now = timezone.now()
    with inside(tenant, max_wait=MAX_WAIT):
        delete_expired_records()
        delete_expired_mail_tokens()
        Session.objects.all().forget_ended(now - SESSION_RETENTION)
        Delivery.objects.all().forget_finished(now - DELIVERY_RETENTION)
        Notification.objects.all().forget_old(now - NOTIFICATION_RETENTION)


def _select_expired_rows() -> list[QuerySet[Any]]:
    """Return the rows that delete_expired_rows() deletes, in a unit of work of all tenants."""
    now = timezone.now()
    return [
        find_expired_records(),
        find_expired_mail_tokens(),
        Session.objects.all().ended(now - SESSION_RETENTION),
        Delivery.objects.all().finished(now - DELIVERY_RETENTION),
        Notification.objects.all().old(now - NOTIFICATION_RETENTION),
    ]


def _purge_some(actor: Actor, resource_type: ResourceType, deleted_before: datetime) -> bool | None:
    """Purge a part of a row in a transaction of its own, so that other writers do not wait for
    long.

    Return whether the row itself is purged; None if there is none.
    """

    def purge() -> bool | None:
        with inside(actor.tenant, max_wait=MAX_WAIT):
            return purge_older(actor, resource_type, deleted_before)

    return run_with_retries(purge)
