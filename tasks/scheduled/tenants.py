"""
Which tenants have something to do, asked for all of them together.

A unit of work in each of ten thousand tenants takes half a minute, also if there is nothing to do
in any. So tasks ask once across tenants, for ids in ranges, and enter only the tenants that are
found. What is found is read again in each of them, so a tenant may be found in vain.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import reduce
from operator import or_
from typing import Any
from zoneinfo import ZoneInfo

from django.db import OperationalError, connection
from django.db.models import Exists, Max, Min, OuterRef, Q, QuerySet

from accounts.models import Tenant
from taskflow.tenancy import across_tenants, can_read_across_tenants
from tasks.export.unfinished import finished_tenants

log = logging.getLogger("taskflow.scheduled")
RANGE = 5_000  # ids of tenants that one statement looks through, so that it ends in time
# Returns the ids of those of the given tenants that are wanted. Called in across_tenants().
Choose = Callable[[QuerySet[Tenant]], Iterable[int]]


def find_tenants(reason: str, choose: Choose) -> Iterator[Tenant]:
    """Yield the finished tenants that `choose` wants, ordered by id. The reason is logged.

    One statement for each RANGE of ids in which tenants are found, besides those of `choose`. All
    tenants of a range are yielded if `choose` takes longer than a statement may, and all tenants if
    this login cannot read across tenants (see docs/architecture.md).
    """
    tenants = finished_tenants()
    ends = tenants.order_by().aggregate(first=Min("pk"), last=Max("pk"))
    if not can_read_across_tenants(connection) or ends["first"] is None:
        yield from tenants
        return
    for first in range(ends["first"], ends["last"] + 1, RANGE):
        in_range = tenants.filter(pk__gte=first, pk__lt=first + RANGE)
        ids = _choose_in_time(reason, choose, in_range)
        if ids is None:
            yield from in_range
        elif ids:
            yield from in_range.filter(pk__in=ids)


def find_tenants_with(reason: str, select: Callable[[], list[QuerySet[Any]]]) -> Iterator[Tenant]:
    """Yield the tenants that have a row of one of the querysets which `select` returns.

    As find_tenants(): one statement for each RANGE of ids.
    """

    def choose(tenants: QuerySet[Tenant]) -> Iterable[int]:
        return ids_of(tenants.filter(reduce(or_, [Q(has_rows(rows)) for rows in select()])))

    return find_tenants(reason, choose)


def has_rows(rows: QuerySet[Any]) -> Exists:
    """Return the condition on a tenant that some of the rows are its own."""
    return Exists(rows.order_by().filter(tenant=OuterRef("pk")))


def times_of_zones(tenants: QuerySet[Tenant], now: datetime) -> Iterator[tuple[str, datetime]]:
    """Yield the name of each time zone of the tenants, with the time there. One statement."""
    zones = tenants.order_by().values_list("time_zone", flat=True).distinct()
    for zone in sorted(zones):
        yield zone, now.astimezone(ZoneInfo(zone))


def ids_of(tenants: QuerySet[Tenant]) -> Iterable[int]:
    return tenants.values_list("pk", flat=True)


def _choose_in_time(reason: str, choose: Choose, tenants: QuerySet[Tenant]) -> list[int] | None:
    """Return the ids that are wanted, or None if finding them was ended by a time limit."""
    try:
        with across_tenants(reason, read_only=True):
            return list(choose(tenants))
    except OperationalError as error:
        log.warning("all tenants are entered, since it failed to %s: %s", reason, error)
        return None
