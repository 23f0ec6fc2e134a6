"""
Which tests the everyday run leaves out: those marked `slow`, most cases of tests that have many,
and on PostgreSQL those marked `one_database`, whose subject does not depend on the database. Of the
latter, `make test-slow` runs on PostgreSQL what the everyday run has on SQLite, and not the rest,
which is marked `left_out`. With CASES=10, that mark is also on the further cases of every test with
more than 10 on PostgreSQL, and with more than 20 on SQLite. Of each module marked `one_database`,
PostgreSQL then gets the first 10 tests only. So CI stays within its time.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import pytest
from django.db import connection

CASES = int(os.environ.get("CASES") or 0)  # 0 for all
# So many cases of each test run on the database.
MOST_CASES = {"sqlite": 2 * CASES, "postgresql": CASES}
EVERYDAY_CASES = 1  # of each test, unless it is marked sampled(n)
SLOW_MARKS = ("proof", "readme")  # these tests are long, or start the product


def mark_slow(items: Iterable[pytest.Item]) -> None:
    """Mark as slow what `make test` leaves out.

    Of each test, its first case stays, or n cases if it is marked sampled(n), evenly spread over all
    that it has.
    """
    cases: defaultdict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if any(item.get_closest_marker(name) for name in SLOW_MARKS):
            item.add_marker(pytest.mark.slow)
        cases[item.nodeid.partition("[")[0]].append(item)
    for group in cases.values():
        marker = group[0].get_closest_marker("sampled")
        (amount,) = marker.args if marker else (EVERYDAY_CASES,)
        kept = spread(len(group), amount)
        for number, item in enumerate(group):
            if number not in kept:
                item.add_marker(pytest.mark.slow)
    for group in cases.values():
        mark_left_out(group)
    if CASES and connection.vendor != "sqlite":
        leave_out_repetitions(items, CASES)


def mark_left_out(cases: Sequence[pytest.Item]) -> None:
    """Mark what `make test` leaves out on this database, and what `make test-slow` does.

    `cases` are all cases of one test.
    """
    kept = spread(len(cases), MOST_CASES[connection.vendor] or len(cases))
    for number, item in enumerate(cases):
        is_slow = item.get_closest_marker("slow")
        runs_elsewhere = connection.vendor != "sqlite" and item.get_closest_marker("one_database")
        if is_slow and (runs_elsewhere or number not in kept):
            item.add_marker(pytest.mark.left_out)
        if runs_elsewhere:
            item.add_marker(pytest.mark.slow)


def leave_out_repetitions(items: Iterable[pytest.Item], kept: int) -> None:
    """Leave out all but the first tests of each module whose subject is the same on SQLite.

    The isolation tests stay: they also run alone, with one of the two protections.
    """
    seen: Counter[str] = Counter()
    for item in items:
        stays = item.get_closest_marker("isolation") or item.get_closest_marker("left_out")
        if stays or not item.get_closest_marker("one_database"):
            continue
        module = item.nodeid.partition("::")[0]
        seen[module] += 1
        if seen[module] > kept:
            item.add_marker(pytest.mark.left_out)


def spread(total: int, amount: int) -> set[int]:
    """Return `amount` numbers below `total`, evenly spread, with the first and the last."""
    if amount >= total:
        return set(range(total))
    if amount == 1:
        return {0}
    return {number * (total - 1) // (amount - 1) for number in range(amount)}
