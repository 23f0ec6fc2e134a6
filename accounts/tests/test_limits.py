"""Counters of attempts: how many are allowed at once, in a minute and in an hour."""

from __future__ import annotations

from datetime import timedelta

import pytest

from accounts import limits
from accounts.limits import AttemptCounter, Counter, Limit

LIMIT = Limit("test", short_seconds=12, long_seconds=180)
pytestmark = pytest.mark.django_db


class Clock:
    def __init__(self):
        self.seconds = 1_800_000_000.0

    def time(self):
        return self.seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(limits, "time", clock)
    return clock


def counter(*parts):
    return Counter(LIMIT, parts or ("ada",))


def attempt(*counters, **options):
    return limits.count_attempt(counters or [counter()], **options)


def count_allowed(clock, minutes, pause=6.0):
    """Try every `pause` seconds; return how many attempts each minute has allowed."""
    allowed = []
    for _ in range(minutes):
        allowed.append(0)
        for _ in range(round(60 / pause)):
            allowed[-1] += attempt().wait_seconds == 0
            clock.seconds += pause
    return allowed


def test_five_attempts_are_allowed_at_once_and_the_next_after_the_wait(clock):
    assert [attempt().wait_seconds for _ in range(6)] == [0, 0, 0, 0, 0, 12]

    clock.seconds += 11.9
    assert attempt().wait_seconds == 1  # at least a second
    clock.seconds += 0.2
    assert [attempt().wait_seconds for _ in range(2)] == [0, pytest.approx(11.9, abs=0.1)]


def test_attempts_become_slower_after_the_first_minutes(clock):
    per_minute = count_allowed(clock, 30)

    assert per_minute[0] <= 10
    assert sum(per_minute[:5]) <= 30
    assert sum(per_minute[10:]) == pytest.approx(20 * 60 / 180, abs=1)


def test_an_attempt_is_counted_in_all_counters_or_in_none(clock):
    for _ in range(5):
        attempt(counter("full"))

    refused = [attempt(counter("new"), counter("full")) for _ in range(10)]

    assert {r.wait_seconds for r in refused} == {12}
    assert {tuple(r.counters) for r in refused} == {()}
    assert [attempt(counter("new")).wait_seconds for _ in range(6)] == [0, 0, 0, 0, 0, 12]


def test_attempts_that_are_given_back_do_not_limit(clock):
    for _ in range(100):
        allowed = attempt()
        assert allowed.wait_seconds == 0
        limits.give_back_attempt(allowed, remember=b"x" * 32, lifetime=timedelta(days=1))

    assert [attempt().wait_seconds for _ in range(6)] == [0, 0, 0, 0, 0, 12]


def test_giving_back_an_attempt_gives_back_only_what_was_counted(clock):
    """Otherwise a user who signs in again and again would reset the limit of an address."""
    known, first, second = b"k" * 32, counter("first"), counter("second")
    limits.give_back_attempt(attempt(first, second), remember=known, lifetime=timedelta(days=1))
    for _ in range(5):
        attempt(second)

    allowed = attempt(first, second, unless_remembered=known)
    limits.give_back_attempt(allowed, remember=known, lifetime=timedelta(days=1))

    assert (allowed.wait_seconds, allowed.counters) == (0, (first,))
    assert attempt(second).wait_seconds == 12


def test_a_remembered_key_is_forgotten_after_its_lifetime(clock):
    known = b"k" * 32
    limits.give_back_attempt(attempt(), remember=known, lifetime=timedelta(days=1))
    for _ in range(5):
        attempt(counter("full"))

    pair = [counter("own"), counter("full")]
    assert attempt(*pair, unless_remembered=known).wait_seconds == 0
    clock.seconds += 86_401
    for _ in range(5):
        attempt(counter("full"))

    assert attempt(*pair, unless_remembered=known).wait_seconds > 0


def test_old_counters_are_deleted_and_others_are_kept(clock, monkeypatch):
    monkeypatch.setattr(limits, "CLEANUP_INTERVAL", 1)  # at every attempt
    for n in range(3):
        attempt(counter(n))
    clock.seconds += 181

    attempt(counter("new"))

    assert AttemptCounter.objects.count() == 1
    clock.seconds += 181
    assert limits.delete_old_counters() == 1


def test_stored_keys_contain_nothing_to_read(clock):
    attempt(counter("ada@acme.example", "203.0.113.7"))

    row = AttemptCounter.objects.get()
    assert len(bytes(row.key)) == 32
    assert b"ada" not in bytes(row.key)
