"""Limits of attempts, such as passwords that are tried, which all processes share.

Each counter is one row, and one statement decides and counts (GCRA, the generic cell rate
algorithm): it moves two points in time on, and refuses when one of them is too far ahead. So at
most SHORT_BURST attempts are allowed at once, and then one for each `short_seconds`; and at most
LONG_BURST, and then one for each `long_seconds`.

The rows belong to no tenant and contain nothing to read: keys are digests with the installation's
secret. They are deleted when they no longer limit anything. On PostgreSQL the table is UNLOGGED:
after a crash of the server, and on a new primary, all counters begin again.
"""

from __future__ import annotations

import random
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from django.db import connection, models, transaction
from django.utils.crypto import salted_hmac

from taskflow.db.session import current_session

SHORT_BURST, LONG_BURST = 5, 20  # attempts
CLEANUP_INTERVAL = 100  # old rows are deleted after every hundredth attempt, on average
MILLISECONDS = 1000


class AttemptCounter(models.Model):
    """One counter: until when attempts are used up, in milliseconds since 1970.

    A counter that is in the past limits nothing, like a missing one.
    """

    key = models.BinaryField(max_length=32, primary_key=True)
    short_until = models.BigIntegerField()
    long_until = models.BigIntegerField()

    class Meta:
        indexes = [
            models.Index(fields=["long_until"], name="attempt_counter_age"),  # old rows
        ]

    def __str__(self) -> str:
        return bytes(self.key).hex()


@dataclass(frozen=True)
class Limit:
    """How often something may be attempted, in the long run."""

    name: str
    short_seconds: float
    long_seconds: float  # not less than short_seconds


@dataclass(frozen=True)
class Counter:
    """One limit of one client, account or installation, which `parts` name."""

    limit: Limit
    parts: tuple[object, ...]

    @property
    def key(self) -> bytes:
        return make_key(self.limit.name, *self.parts)

    @property
    def cost(self) -> tuple[int, int]:
        """Milliseconds by which an attempt moves both points in time on."""
        limit = self.limit
        return round(limit.short_seconds * MILLISECONDS), round(limit.long_seconds * MILLISECONDS)


TABLE = AttemptCounter._meta.db_table
COUNT_SQL = f"""
INSERT INTO {TABLE} (key, short_until, long_until) VALUES {{rows}}
ON CONFLICT (key) DO UPDATE SET
  short_until = CASE WHEN {TABLE}.short_until > %s THEN {TABLE}.short_until - %s ELSE 0 END
                + excluded.short_until,
  long_until = CASE WHEN {TABLE}.long_until > %s THEN {TABLE}.long_until - %s ELSE 0 END
               + excluded.long_until
WHERE {TABLE}.short_until <= %s + {SHORT_BURST - 1} * (excluded.short_until - %s)
  AND {TABLE}.long_until <= %s + {LONG_BURST - 1} * (excluded.long_until - %s)
RETURNING key
"""  # noqa: S608 - the table's name is a constant
READ_SQL = f"SELECT key, short_until, long_until FROM {TABLE} WHERE key IN ({{keys}})"  # noqa: S608
GIVE_BACK_SQL = f"""
UPDATE {TABLE} AS counter SET short_until = counter.short_until - %s,
  long_until = counter.long_until - %s WHERE key = %s
"""  # noqa: S608
REMEMBER_SQL = f"""
INSERT INTO {TABLE} (key, short_until, long_until) VALUES (%s, %s, %s)
ON CONFLICT (key) DO UPDATE SET short_until = excluded.short_until, long_until = excluded.long_until
"""  # noqa: S608


@dataclass(frozen=True)
class Attempt:
    """What count_attempt() has decided."""

    wait_seconds: float  # 0 if the attempt is allowed
    counters: Sequence[Counter]  # that have counted it


def count_attempt(
    counters: Sequence[Counter], *, unless_remembered: bytes | None = None
) -> Attempt:
    """Count an attempt in all counters, or in none if one of them refuses it.

    If the key `unless_remembered` is remembered, only the first counter counts. This is a
    transaction of its own, which lasts whatever follows. Call it outside of a unit of work: inside
    one, the attempt would be rolled back with it.
    """
    with _transaction():
        now = _now()
        if unless_remembered is not None and _is_remembered(unless_remembered, now):
            counters = counters[:1]
        if _count(counters, now):
            _delete_old_sometimes(now)
            return Attempt(0.0, counters)
        transaction.set_rollback(True)
    return Attempt(_find_wait(counters, now), ())


def give_back_attempt(attempt: Attempt, *, remember: bytes, lifetime: timedelta) -> None:
    """Undo the count of an attempt that was no guess, and remember a key for `lifetime`."""
    with _transaction(), connection.cursor() as cursor:
        until = _now() + round(lifetime.total_seconds() * MILLISECONDS)
        for counter in sorted(attempt.counters, key=lambda counter: counter.key):
            cursor.execute(GIVE_BACK_SQL, [*counter.cost, counter.key])
        cursor.execute(REMEMBER_SQL, [remember, until, until])


def delete_old_counters() -> int:
    """Delete the counters that limit nothing any more. Return how many there were."""
    with _transaction():
        return _delete_old(_now())


def make_key(name: str, *parts: object) -> bytes:
    """Return the digest under which a counter is stored: 32 bytes."""
    return salted_hmac(f"taskflow.limits.{name}", repr(parts), algorithm="sha256").digest()


def _now() -> int:
    return round(time.time() * MILLISECONDS)


@contextmanager
def _transaction() -> Iterator[None]:
    """Open a transaction of its own. On SQLite it waits in turn for the one writer."""
    access = current_session().reserve_write_access(read_only=False, max_wait=None)
    with access, transaction.atomic():
        yield


def _is_remembered(key: bytes, now: int) -> bool:
    return any(until > now for _key, until, _long in _read([key]))


def _count(counters: Sequence[Counter], now: int) -> bool:
    """Move the counters on. Return False if one of them refuses; the others have moved then."""
    rows = sorted((counter.key, counter.cost) for counter in counters)  # the order of their locks
    values: list[bytes | int] = [
        value for key, (short, long) in rows for value in (key, now + short, now + long)
    ]
    sql = COUNT_SQL.format(rows=", ".join(["(%s, %s, %s)"] * len(rows)))
    with connection.cursor() as cursor:
        cursor.execute(sql, [*values, *[now] * COUNT_SQL.count("%s")])
        return len(cursor.fetchall()) == len(rows)


def _find_wait(counters: Sequence[Counter], now: int) -> float:
    """Return the seconds until all counters allow an attempt: at least one."""
    costs = {counter.key: counter.cost for counter in counters}
    free_at = [
        until - (burst - 1) * cost
        for key, *points in _read(costs)
        for until, cost, burst in zip(points, costs[key], (SHORT_BURST, LONG_BURST), strict=True)
    ]
    return max(1.0, (max(free_at, default=now) - now) / MILLISECONDS)


def _read(keys: Collection[bytes]) -> list[tuple[bytes, int, int]]:
    with connection.cursor() as cursor:
        cursor.execute(READ_SQL.format(keys=", ".join(["%s"] * len(keys))), [*keys])
        rows: list[tuple[bytes, int, int]] = cursor.fetchall()
        return rows


def _delete_old_sometimes(now: int) -> None:
    if random.randrange(CLEANUP_INTERVAL) == 0:  # noqa: S311 - no secret
        _delete_old(now)


def _delete_old(now: int) -> int:
    return AttemptCounter.objects.filter(long_until__lt=now).delete()[0]
