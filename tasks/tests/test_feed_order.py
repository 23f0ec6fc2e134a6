"""A reader of the feed gets every committed event once, in the order of the commits.

Twelve writers at once, with transactions that take long or are rolled back, readers that stop and
continue with their cursor, and a move of the tenant by export and import in between.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace

import pytest
from django.db import OperationalError, connection

from conftest import PROOF, build_fixtures
from taskflow.audit.actor import Actor
from taskflow.audit.feed import NO_FILTERS, FeedFilters, FeedPage, latest_cursor, read_events
from taskflow.audit.recorder import record
from taskflow.tenancy import inside
from tasks.models import Task
from tasks.tests.exports import export, load

pytestmark = [
    pytest.mark.slow,
    pytest.mark.proof,
    pytest.mark.django_db(transaction=True),
    pytest.mark.raw_sql,
    pytest.mark.usefixtures("feed_of_ended_transactions"),
]
WRITERS = 12
EVENTS = 5000 if PROOF else 40  # of each writer, in both phases together
PAUSE = 0.3 if connection.vendor == "postgresql" else 0.05  # seconds, inside a long transaction


@dataclass
class Ledger:
    """What was committed: for each event, when its transaction began and when it had ended."""

    clock: itertools.count[int] = field(default_factory=itertools.count)
    committed: dict[str, tuple[int, int]] = field(default_factory=dict)
    rolled_back: int = 0
    long: int = 0
    refused: int = 0  # transactions that SQLite did not let begin in time
    errors: list[BaseException] = field(default_factory=list)


class RolledBack(Exception):
    pass


def write(actor: Actor, task: Task, ledger: Ledger, name: str, count: int) -> None:
    """Write `count` events in transactions of one to four."""
    chance, number = random.Random(name), 0
    try:
        while number < count:
            labels = [
                f"{name}:{n}" for n in range(number, min(number + chance.randint(1, 4), count))
            ]
            begun = next(ledger.clock)
            try:
                write_together(actor, task, labels, chance, ledger)
            except RolledBack:
                ledger.rolled_back += 1
                continue
            except OperationalError:
                ledger.refused += 1
                continue
            ledger.committed |= dict.fromkeys(labels, (begun, next(ledger.clock)))
            number += len(labels)
    except BaseException as error:
        ledger.errors.append(error)
        raise
    finally:
        connection.close()


def write_together(
    actor: Actor, task: Task, labels: list[str], chance: random.Random, ledger: Ledger
) -> None:
    with inside(actor.tenant):
        for label in labels:
            record(replace(actor, reason=label), task, "seen")
        if chance.random() < 0.01:
            ledger.long += 1
            time.sleep(PAUSE)
        if chance.random() < 0.1:
            raise RolledBack


class Reader:
    """Reads on from its cursor until it is stopped. Its connection is closed again and again."""

    def __init__(self, cursor: str, filters: FeedFilters, name: str) -> None:
        self.cursor, self.filters, self.chance = cursor, filters, random.Random(name)
        self.labels: list[str] = []
        self.restarts = self.empty = 0

    def read(self, actor: Actor) -> FeedPage:
        with inside(actor.tenant, read_only=True):
            page = read_events(actor.viewer, self.cursor, self.filters, self.chance.randint(1, 200))
        self.labels += [e.reason for e in page.events if e.verb == "seen"]
        self.cursor = page.next_cursor
        return page

    def run(self, actor: Actor, stop: threading.Event) -> None:
        while not stop.is_set():
            page = self.read(actor)
            if self.chance.random() < 0.05:
                self.restarts += 1
                connection.close()
            if not page.events:
                self.empty += 1
                time.sleep(0.01)
        connection.close()

    def read_rest(self, actor: Actor) -> None:
        while self.read(actor).has_more:
            pass


def run_phase(actor: Actor, ledger: Ledger, readers: list[Reader], phase: int) -> None:
    """Let all writers write half of their events, while the readers read."""
    with inside(actor.tenant):
        task = Task.objects.get(title="Launch")
    stop = threading.Event()
    reading = [threading.Thread(target=r.run, args=(actor, stop)) for r in readers]
    writing = [
        threading.Thread(target=write, args=(actor, task, ledger, f"{phase}:{n}", EVENTS // 2))
        for n in range(WRITERS)
    ]
    for thread in reading + writing:
        thread.start()
    for thread in writing:
        thread.join()
    stop.set()
    for thread in reading:
        thread.join()


def count_out_of_order(labels: list[str], ledger: Ledger) -> int:
    """Count the events before which comes one whose transaction began after theirs had ended."""
    latest_begin, wrong = -1, 0
    for label in labels:
        begun, ended = ledger.committed[label]
        wrong += ended < latest_begin
        latest_begin = max(latest_begin, begun)
    return wrong


def test_readers_get_each_committed_event_once_in_the_order_of_the_commits():
    fixtures, ledger = build_fixtures(), Ledger()
    with inside(fixtures.acme):
        cursor = latest_cursor()
    seen = FeedFilters(types=(("task", "seen"),))
    readers = [Reader(cursor, NO_FILTERS, "all"), Reader(cursor, seen, "filtered")]
    started = time.monotonic()

    run_phase(fixtures.boss, ledger, readers, 1)
    data = export(fixtures.acme)
    tenant, _ = load(data, subdomain="moved")  # with other ids
    with inside(tenant):
        user = type(fixtures.boss.user).objects.get(handle="boss")
    moved = replace(fixtures.boss, user=user, tenant=tenant)
    run_phase(moved, ledger, readers, 2)

    assert not ledger.errors
    assert len(ledger.committed) == WRITERS * (EVENTS // 2) * 2
    for reader in readers:
        reader.read_rest(moved)
        counts = Counter(reader.labels)
        lost = ledger.committed.keys() - counts.keys()
        uncommitted = counts.keys() - ledger.committed.keys()
        doubled = [label for label, number in counts.items() if number > 1]
        wrong = 0 if uncommitted else count_out_of_order(reader.labels, ledger)
        print(
            f"\n{connection.vendor}: {len(ledger.committed)} events of {WRITERS} writers in"
            f" {time.monotonic() - started:.0f} s, {ledger.long} long transactions,"
            f" {ledger.rolled_back} rolled back, {ledger.refused} refused, one import;"
            f" {reader.restarts} restarts of the reader, {reader.empty} empty answers: lost"
            f" {len(lost)}, doubled {len(doubled)}, not committed {len(uncommitted)}, out of order"
            f" {wrong}"
        )
        assert (len(lost), len(doubled), len(uncommitted), wrong) == (0, 0, 0, 0)
