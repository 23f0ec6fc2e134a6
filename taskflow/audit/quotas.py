"""Quotas: how many rows and how much text a tenant may have.

The settings give the limits, the same for every tenant; without them nothing is counted. The
recorder calls check_quotas() for every channel. Each process counts a tenant from time to time and
adds what it writes itself, also what its other transactions have not committed yet. Close to a
limit it counts exactly, one request after the other. So only what other processes write between two
counts can exceed a limit, and only if it is more than MARGIN of the limit.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import connection, models
from django.db.models import Count, F, Func, Sum, Value
from django.db.models.functions import Cast, Coalesce

from taskflow.audit.actor import Actor
from taskflow.audit.models import Via
from taskflow.http.errors import QuotaExceeded
from taskflow.tenancy import TenantModel

MIN_SECONDS = 5.0  # a count is not repeated earlier
MAX_SHARE = 0.01  # of the time may be spent with counting: a count of 0.2 s serves for 20 s
MARGIN = 0.1  # of a limit: in the last tenth, counts are exact
# What was added during this time may be part of a transaction that is running, which no count of
# another transaction includes.
RUNNING_SECONDS = 30.0
TEXT = "text_bytes"
NAMES = (
    "projects",
    "tasks",
    "comments",
    "pages",
    "tags",
    "users",
    "tokens",
    "webhooks",
    "views",
    TEXT,
)


@dataclass(frozen=True)
class CountedModel:
    """What the quotas count of a model.

    `condition` selects the counted rows; `is_counted` says the same of a row in memory. `texts` are
    the columns whose bytes count, JSON included.
    """

    quota: str
    model: type[TenantModel]
    texts: Sequence[str] = ()
    condition: Callable[[], models.Q] = models.Q
    is_counted: Callable[[Any], bool] = lambda _: True


@dataclass
class _Cached:
    counted: int
    expires: float  # by time.monotonic()
    # By this process, also by transactions that were rolled back: time.monotonic() and how much.
    additions: list[tuple[float, int]]
    added: int  # their sum

    def add(self, amount: int) -> None:
        self.additions.append((time.monotonic(), amount))
        self.added += amount


_counted: dict[type[models.Model], CountedModel] = {}
_cache: dict[tuple[int, str], _Cached] = {}  # by tenant id and name of the quota


def register_counted_models(counted: Iterable[CountedModel]) -> None:
    """Register what the quotas count. The registry of resource types calls it."""
    for entry in counted:
        _counted[entry.model] = entry


def check_quotas(actor: Actor, created: Sequence[TenantModel]) -> None:
    """Raise QuotaExceeded if these new rows, which are not saved yet, would exceed a limit.

    Commands are not limited. No statement if no limit is set.
    """
    entry = _counted.get(type(created[0])) if created and settings.QUOTAS else None
    if entry is None or actor.via is Via.COMMAND:
        return
    with _usage_hidden_from(actor):
        _require(actor.tenant.pk, entry.quota, sum(map(entry.is_counted, created)))
        _require(actor.tenant.pk, TEXT, sum(_measure(row, entry.texts) for row in created))


def check_quota(actor: Actor, name: str, adding: int) -> None:
    """Raise QuotaExceeded if so many more rows would exceed the limit of this name.

    For rows that will be created later, such as users who are invited. Counts exactly: one
    statement, or none if there is no such limit. Commands are not limited.
    """
    if name not in settings.QUOTAS or actor.via is Via.COMMAND:
        return
    with _usage_hidden_from(actor):
        _check_exactly(actor.tenant.pk, name, adding)


def check_quotas_of_changes(
    actor: Actor, changes: Iterable[tuple[TenantModel, Mapping[str, Sequence[Any]]]]
) -> None:
    """Like check_quotas(), for changes of rows as {name: [before, after]}.

    Text that becomes longer counts, and a user who becomes active.
    """
    if not settings.QUOTAS or actor.via is Via.COMMAND:
        return
    text = activated = 0
    quota = None
    for row, fields in changes:
        entry = _counted.get(type(row))
        if entry is None:
            continue
        quota = entry.quota
        for name in fields.keys() & set(entry.texts):
            before, after = fields[name]
            text += _measure_value(after) - _measure_value(before)
        activated += fields.get("is_active") == [False, True]
    with _usage_hidden_from(actor):
        if quota and activated:
            _require(actor.tenant.pk, quota, activated)
        if text > 0:
            _require(actor.tenant.pk, TEXT, text)


def require_within_quotas(tenant_id: int) -> None:
    """Raise QuotaExceeded if the tenant has more than a limit. For an import, inside the tenant."""
    for name in settings.QUOTAS:
        _check_exactly(tenant_id, name, 0)


def read_usage(tenant_id: int) -> dict[str, tuple[int, int | None]]:
    """Return how much of each quota the tenant uses, and the limit or None, by name.

    The numbers are those of the last count: see MIN_SECONDS and MAX_SHARE. At most nine statements.
    """
    return {name: (_count(tenant_id, name).counted, settings.QUOTAS.get(name)) for name in NAMES}


def forget_counts() -> None:
    """Count all tenants again at the next use. For tests."""
    _cache.clear()


# ---- checking and counting ----------------------------------------------------------------------


@contextmanager
def _usage_hidden_from(actor: Actor) -> Iterator[None]:
    """Leave out of a QuotaExceeded how much the tenant uses, if the token is bound to projects."""
    try:
        yield
    except QuotaExceeded as problem:
        raise problem if actor.project_ids is None else problem.without_usage() from None


def _require(tenant_id: int, name: str, adding: int) -> None:
    limit = settings.QUOTAS.get(name)
    if limit is None or adding <= 0:
        return
    cached = _count(tenant_id, name)
    cached.add(adding)
    if cached.counted + cached.added > limit * (1 - MARGIN):
        _check_exactly(tenant_id, name, adding)


def _check_exactly(tenant_id: int, name: str, adding: int) -> None:
    """Count with all other transactions that come close to the limit waiting until this one ends.

    SQLite has one writer at a time anyway.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            key = NAMES.index(name)
            cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [tenant_id % 2**31, key])
    limit, used = settings.QUOTAS[name], _count_now(name)
    _store_count(tenant_id, name, used, MIN_SECONDS)
    if used + adding > limit:
        raise QuotaExceeded(name, limit, used, adding)


def _count(tenant_id: int, name: str) -> _Cached:
    """Return the cached count of the tenant, counted anew if it has expired."""
    cached = _cache.get((tenant_id, name))
    started = time.monotonic()
    if cached is None or cached.expires < started:
        used = _count_now(name)
        seconds = time.monotonic() - started
        cached = _store_count(tenant_id, name, used, max(MIN_SECONDS, seconds / MAX_SHARE))
    return cached


def _store_count(tenant_id: int, name: str, used: int, lifetime: float) -> _Cached:
    """Cache a count for so many seconds, with the additions that may not be committed yet."""
    now = time.monotonic()
    former = _cache.get((tenant_id, name))
    additions = [a for a in former.additions if a[0] > now - RUNNING_SECONDS] if former else []
    added = sum(amount for _, amount in additions)
    cached = _cache[tenant_id, name] = _Cached(used, now + lifetime, additions, added)
    return cached


def _count_now(name: str) -> int:
    """Count the rows or bytes of the current tenant. One statement for each table."""
    if name == TEXT:
        return sum(_count_bytes(entry) for entry in _counted.values() if entry.texts)
    (entry,) = (entry for entry in _counted.values() if entry.quota == name)
    rows = entry.model._base_manager.filter(entry.condition())
    return int(rows.aggregate(n=Count("pk"))["n"])


def _count_bytes(entry: CountedModel) -> int:
    sizes: Any = sum((_size_of_column(entry.model, name) for name in entry.texts), Value(0))
    return int(entry.model._base_manager.aggregate(n=Sum(sizes))["n"] or 0)


def _size_of_column(model: type[models.Model], name: str) -> Any:
    """Return the expression for the size of a column in bytes; of JSON, as text."""
    column: Any = F(name)
    if isinstance(model._meta.get_field(name), models.JSONField):
        column = Cast(name, models.TextField())
    if connection.vendor == "sqlite":
        column = Cast(column, models.BinaryField())
    function = "LENGTH" if connection.vendor == "sqlite" else "OCTET_LENGTH"
    size = Func(column, function=function, output_field=models.BigIntegerField())
    return Coalesce(size, Value(0))


def _measure(row: models.Model, names: Sequence[str]) -> int:
    return sum(_measure_value(getattr(row, name)) for name in names)


def _measure_value(value: object) -> int:
    if value is None:
        return 0
    return len((value if isinstance(value, str) else json.dumps(value)).encode())
