"""A thread learns of the commits of all processes, and wakes those who wait for the tenant."""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from contextlib import closing

import psycopg
import pytest
from django.conf import settings
from django.db import connection, transaction

from taskflow.audit.commits import postgresql, watching
from taskflow.audit.commits.polling import PollingWatcher, read_position
from taskflow.audit.commits.postgresql import PostgresWatcher
from taskflow.commits import choose_watcher
from taskflow.db.commits import CommitReports, report_after_commit, report_commits_to
from taskflow.db.postgresql.notifications import CHANNEL, notify_servers, write_payload
from taskflow.tenancy import inside
from taskflow.tests.concurrency import at_once, held_open
from tasks.tests.factories import TagFactory

pytestmark = pytest.mark.django_db(transaction=True)
LONG = 10.0  # seconds; a test that waits so long has failed
only_postgresql = pytest.mark.skipif(
    connection.vendor != "postgresql" or bool(settings.POOLER), reason="LISTEN of PostgreSQL"
)


class Waiting:
    """Somebody who waits for some tenants, and counts the wakes of each."""

    def __init__(self, *tenants: int) -> None:
        self.tenants = tenants
        self.wakes: deque[int] = deque()

    def list_tenants(self) -> tuple[int, ...]:
        return self.tenants

    def wake(self, tenants) -> None:
        self.wakes.extend(tenants)

    def wake_all(self) -> None:
        self.wakes.extend([0])  # no tenant

    def expect(self, tenant: int) -> None:
        """Wait for a wake of the tenant, and forget all wakes."""
        end = time.monotonic() + LONG
        while tenant not in self.wakes:
            assert time.monotonic() < end, self.wakes
            time.sleep(0.005)
        self.wakes.clear()


@pytest.fixture
def waiting(fixtures):
    return Waiting(fixtures.acme.pk)


def start(kind, waiting):
    watcher = kind(waiting, read_position)
    watcher.start()
    watcher.notice_wait()
    waiting.expect(0)
    return watcher


@pytest.fixture(params=["usual", "polling"])
def watcher(request, waiting, monkeypatch):
    monkeypatch.setattr(watching, "POLL_SECONDS", 0.05)
    if request.param == "polling":
        watcher = PollingWatcher(waiting, read_position)
        watcher.start()
        watcher.notice_wait()
        waiting.expect(waiting.tenants[0])  # the first look
    else:
        watcher = start(choose_watcher(), waiting)
    yield watcher
    watcher.stop()


def add_tag(fixtures):
    with inside(fixtures.acme):
        TagFactory(actor=fixtures.ada)


def test_commit_of_this_process_wakes_who_waits(watcher, waiting, fixtures):
    add_tag(fixtures)

    waiting.expect(fixtures.acme.pk)


def test_commit_that_is_not_reported_here_wakes_who_waits(watcher, waiting, fixtures):
    """As one of another process, which on PostgreSQL notifies the others itself."""
    report_commits_to(notify_servers)

    at_once(lambda: add_tag(fixtures))

    waiting.expect(fixtures.acme.pk)


def test_rollback_wakes_nobody(watcher, waiting, fixtures):
    with inside(fixtures.acme):
        TagFactory(actor=fixtures.ada)
        transaction.set_rollback(True)

    time.sleep(0.3)
    assert not waiting.wakes


def test_savepoint_that_is_rolled_back_does_not_take_the_report_of_the_transaction_back(
    watcher, waiting, fixtures
):
    with inside(fixtures.acme):
        with transaction.atomic():
            TagFactory(actor=fixtures.ada)
            transaction.set_rollback(True)
        TagFactory(actor=fixtures.ada)

    waiting.expect(fixtures.acme.pk)


def test_watcher_without_waiters_and_commits_holds_no_connection(waiting, fixtures):
    waiting.tenants = ()
    watcher = choose_watcher()(waiting, read_position)
    watcher.start()

    time.sleep(0.2)

    assert not waiting.wakes
    watcher.stop()


# ---- PostgreSQL ----------------------------------------------------------------------------------


@only_postgresql
def test_who_waits_is_woken_when_older_transactions_have_ended(waiting, fixtures):
    """Before, a reader would not see the event: one of the older transaction could precede it."""
    watcher = start(PostgresWatcher, waiting)
    with held_open(fixtures.acme, lambda: TagFactory(actor=fixtures.ada)):
        add_tag(fixtures)
        time.sleep(0.3)
        early = list(waiting.wakes)

    waiting.expect(fixtures.acme.pk)
    watcher.stop()
    assert early == []


@only_postgresql
def test_watcher_that_has_lost_its_connection_connects_again(waiting, fixtures, monkeypatch):
    monkeypatch.setattr(watching, "POLL_SECONDS", 0.05)
    watcher = start(PostgresWatcher, waiting)
    with closing(psycopg.connect(**parameters(), autocommit=True)) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND query LIKE '%pg_current_snapshot()%'"
            " AND pid <> pg_backend_pid()"
        )

    waiting.expect(0)  # of the new connection
    add_tag(fixtures)
    waiting.expect(fixtures.acme.pk)
    watcher.stop()


@only_postgresql
def test_watcher_that_cannot_listen_polls(waiting, fixtures, monkeypatch):
    def fail():
        raise psycopg.OperationalError("LISTEN is refused during recovery")

    monkeypatch.setattr(watching, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(postgresql, "connect", fail)
    watcher = PostgresWatcher(waiting, read_position)
    watcher.start()
    watcher.notice_wait()
    waiting.expect(fixtures.acme.pk)  # the first look

    add_tag(fixtures)

    waiting.expect(fixtures.acme.pk)
    watcher.stop()


@only_postgresql
def test_notification_of_very_many_tenants_wakes_all_who_wait(waiting, fixtures):
    watcher = start(PostgresWatcher, waiting)
    payload = write_payload(range(1000))
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, payload])

    waiting.expect(fixtures.acme.pk)
    watcher.stop()


def parameters():
    return {k: v for k, v in connection.get_connection_params().items() if k != "cursor_factory"}


# ---- reports -------------------------------------------------------------------------------------


@pytest.mark.one_database
def test_each_report_of_many_threads_is_taken_once():
    reports, taken = CommitReports(), []

    def report(first):
        for tenant in range(first, first + 500):
            reports.add(tenant)

    threads = [threading.Thread(target=report, args=[1000 * n]) for n in range(4)]
    for thread in threads:
        thread.start()
    while len(taken) < 2000:
        reports.wait(LONG)
        taken += reports.take()

    assert len(set(taken)) == 2000


@pytest.mark.one_database
@pytest.mark.parametrize("is_before", [True, False])
def test_report_beside_a_take_does_not_hide_the_next_one(monkeypatch, is_before):
    """Another thread reports a commit just before the pipe is read, or just after it."""
    reports, read = CommitReports(), os.read

    def read_beside_report(*args: int) -> bytes:
        if is_before:
            reports.add(2)
        content = read(*args)
        if not is_before:
            reports.add(2)
        return content

    reports.add(1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "read", read_beside_report)
        assert reports.take() == {1, 2}

    reports.add(3)

    assert select.select([reports.reader], [], [], 0)[0] == [reports.reader]
    reports.close()


def test_nothing_is_reported_while_nobody_wants_to_know(fixtures):
    report_commits_to(None)

    with transaction.atomic():
        report_after_commit(fixtures.acme.pk)
        assert connection.run_on_commit == []
