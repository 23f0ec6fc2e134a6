"""SQLite has one writer at a time. A request that waits too long for the lock gets 503."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing, contextmanager

import pytest
from django.db import OperationalError, connection
from django.test import Client

from conftest import sign_in_browser
from taskflow.db.sqlite import session
from taskflow.metrics.timing import timings
from taskflow.tenancy import inside

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif("connection.vendor != 'sqlite'"),
]
LOCK_TIMEOUT = 0.15  # seconds


@pytest.fixture(autouse=True)
def _short_lock_timeout(monkeypatch):
    """Lower the lock timeout of new connections, and open this thread's connection anew."""
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "timeout", LOCK_TIMEOUT)
    connection.close()
    yield
    connection.close()
    timings.reset(0.0)


@contextmanager
def writing_thread(tenant, until=None):
    """Another thread of this process has the write lock, until the block ends or `until` is set."""
    has_lock, may_end = threading.Event(), until or threading.Event()

    def hold():
        with inside(tenant):
            has_lock.set()
            may_end.wait(10)
        connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    assert has_lock.wait(10)
    try:
        yield
    finally:
        may_end.set()
        thread.join()


@contextmanager
def writing_process():
    """Hold the write lock in another connection, which SQLite treats like another process."""
    name = str(connection.settings_dict["NAME"])
    with closing(sqlite3.connect(name, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def busy_timeout():
    """Return how long SQLite waits for a lock, in milliseconds."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout")
        return cursor.fetchone()[0]


@pytest.fixture(params=["thread", "process"])
def locked(request, fixtures):
    return {"thread": lambda: writing_thread(fixtures.acme), "process": writing_process}[
        request.param
    ]


def test_write_that_waits_too_long_gets_503(fixtures, as_, locked):
    client = as_(fixtures.ada)
    body = {"project_id": fixtures.apollo.pk, "title": "Test"}

    with locked():
        response = client.post("/tasks", body)

    assert response.status_code == 503
    assert response["Retry-After"] == "1"
    assert response.json()["code"] == "database_busy"
    assert client.post("/tasks", body).status_code == 201


@pytest.mark.parametrize(
    ("queued", "waits"), [(0.0, 0.15), (0.1, 0.05), (0.149, 0.02), (5.0, 0.02)]
)
def test_time_in_the_queue_for_a_thread_counts_as_waiting_for_the_lock(
    fixtures, monkeypatch, queued, waits
):
    monkeypatch.setattr(session, "MIN_WAIT", 0.02)
    timings.reset(queued)

    with (
        writing_thread(fixtures.acme),
        pytest.raises(OperationalError, match=f"other writers took {waits:g} seconds"),
        inside(fixtures.acme),
    ):
        pass


def test_admin_page_that_waits_too_long_gets_503(fixtures, locked):
    client = Client(SERVER_NAME="acme.localhost")
    with inside(fixtures.acme):
        sign_in_browser(client, fixtures.boss.user)
    path = f"/admin/tasks/task/{fixtures.task.pk}/change/"
    assert client.get(path).status_code == 200

    with locked():
        response = client.post(path, {})

    assert response.status_code == 503


def test_read_does_not_wait_for_writer(fixtures, as_, locked):
    client = as_(fixtures.ada)  # the last use of a new token would be stored

    with locked():
        response = client.get("/tasks")
    assert response.status_code == 200


def test_update_of_last_use_does_not_wait(fixtures, as_, locked, monkeypatch):
    client = as_(fixtures.ada)
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "timeout", 3600)

    with locked():
        response = client.get("/tasks")

    assert response.status_code == 200


@pytest.mark.slow
def test_waits_for_threads_and_processes_share_one_limit(fixtures, monkeypatch):
    """The time spent waiting for a thread is subtracted from SQLite's timeout of this transaction."""
    max_wait = 60
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "timeout", max_wait)
    connection.close()
    until = threading.Event()

    with writing_thread(fixtures.acme, until):
        threading.Timer(0.6, until.set).start()
        with inside(fixtures.acme):
            left = busy_timeout()

    assert 0 < left <= (max_wait - 0.15) * 1000
    with inside(fixtures.acme):
        assert busy_timeout() == max_wait * 1000


def test_write_waits_no_longer_than_max_wait(fixtures, locked):
    with locked(), pytest.raises(OperationalError), inside(fixtures.acme, max_wait=0):
        pass  # pragma: no cover
    with inside(fixtures.acme):
        assert busy_timeout() == LOCK_TIMEOUT * 1000
