"""
Deletes old events, where the operator has limited how long they are kept.

They are deleted from the beginning of the log only, in the order of the feed, so that a reader
never misses one between two others. The last event stays, whatever its age: a reader that has read
everything continues from it.
"""

from __future__ import annotations

from datetime import datetime
from itertools import takewhile

from django.db.models import Exists, Model, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce, Greatest
from django.db.models.lookups import LessThan

from taskflow.audit.models import Event
from taskflow.tenancy import TenantModel, current_tenant_id

CHUNK = 500  # events that one transaction deletes
ORDER = ("epoch", "sequence", "id")  # of the feed


def delete_old_events(before: datetime) -> int:
    """Delete some of the oldest events of the current tenant that were made before this time.

    Return how many: zero if there are none. Call it again and again, in a transaction each time.
    Stores in the tenant up to which time events may be missing.
    """
    rows = list(Event.objects.order_by(*ORDER).values_list("pk", "created_at")[: CHUNK + 1])
    old = list(takewhile(lambda row: row[1] < before, rows))
    deleted = old[:-1] if len(old) == len(rows) else old
    if not deleted:
        return 0
    newest = max(created_at for _, created_at in deleted)
    latest = Greatest(Coalesce("events_missing_until", newest), newest)
    _tenant().update(events_missing_until=latest)
    events = Event.objects.filter(pk__in=[pk for pk, _ in deleted])
    count, _ = events.delete()
    return count


def has_old_events(before: datetime) -> Q:
    """Return the condition on a tenant that delete_old_events() would delete some of its events.

    For a query across tenants. It reads two events of each tenant by an index.
    """
    events = Event.objects.filter(tenant=OuterRef("pk")).order_by(*ORDER)
    oldest = Subquery(events.values("created_at")[:1])
    return Q(LessThan(oldest, before)) & Q(Exists(events[1:2]))


def read_missing_until() -> datetime | None:
    """Return up to which time events of the current tenant may have been deleted. One query.

    None if its log is complete.
    """
    value: datetime | None = _tenant().values_list("events_missing_until", flat=True).get()
    return value


def has_event_of_version(row: TenantModel, version: int) -> bool:
    """Return whether the log holds the change by which the row got this version. One query."""
    events = Event.objects.filter(
        subject_type=type(row).__name__.lower(), subject_id=row.pk, version=version
    )
    return events.exists()


def _tenant() -> QuerySet[Model]:
    """Return the tenant of the unit of work, as a queryset."""
    tenants = Event._meta.get_field("tenant").related_model
    assert isinstance(tenants, type)
    return tenants._default_manager.filter(pk=current_tenant_id())
