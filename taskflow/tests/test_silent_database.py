"""A PostgreSQL that is frozen or away fails requests within seconds, and is used again afterwards."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress

import pytest
from django.db import OperationalError, connection

from taskflow.db.postgresql import deadlines, pool
from taskflow.db.postgresql.deadlines import SilentDatabase, reachability
from taskflow.db.statements import Statement
from taskflow.http.database_errors import problem_of_database_error
from taskflow.http.errors import Unavailable
from taskflow.http.unavailable import Busy, Silent
from taskflow.tests.server import free_port

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite is in the process"),
]
ALLOWED = 0.3  # seconds for an answer in these tests
SOON = 3.0  # seconds, on a machine that is busy with other tests


class Proxy:
    """Passes bytes between clients and PostgreSQL, unless it is silent."""

    def __init__(self, host: str, port: str) -> None:
        self.is_flowing = threading.Event()
        self.is_flowing.set()
        self.target, self.sockets = (host, port or "5432"), []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.accepting = threading.Thread(target=self.accept, daemon=True)
        self.accepting.start()

    def accept(self):
        with suppress(OSError):  # the end
            while True:
                client, _ = self.listener.accept()
                self.sockets.append(client)
                server = self.connect()
                self.sockets.append(server)
                for ends in ((client, server), (server, client)):
                    threading.Thread(target=self.pass_on, args=ends, daemon=True).start()

    def connect(self):
        host, port = self.target
        if not host.startswith("/"):
            return socket.create_connection((host, int(port)))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{host}/.s.PGSQL.{port}")
        return server

    def pass_on(self, source, target):
        with suppress(OSError):
            while data := source.recv(65_536):
                self.is_flowing.wait()
                target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)

    def end_connections(self):
        for each in self.sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def close(self):
        self.is_flowing.set()
        self.listener.shutdown(socket.SHUT_RDWR)  # to close it would not end a waiting accept()
        self.accepting.join()
        self.listener.close()
        self.end_connections()


@pytest.fixture
def proxy():
    settings = connection.settings_dict
    proxy = Proxy(settings["HOST"], settings["PORT"])
    yield proxy
    proxy.close()


@pytest.fixture
def database(proxy):
    """A connection of its own, through the proxy."""
    wrapper = copy_connection(proxy.port)
    wrapper.ensure_connection()
    yield wrapper
    wrapper.close()


def copy_connection(port):
    wrapper = connection.copy()
    wrapper.settings_dict |= {"HOST": "127.0.0.1", "PORT": str(port)}
    return wrapper


@pytest.fixture(autouse=True)
def server_process(monkeypatch):
    """As in a server, with shorter times."""
    ended = threading.Event()

    def look():
        while not ended.wait(0.05):
            deadlines.cut_silent_connections()

    monkeypatch.setattr(deadlines, "ANSWER_SECONDS", ALLOWED)
    monkeypatch.setattr(reachability, "is_watched", True)
    watching = threading.Thread(target=look)
    watching.start()
    yield
    ended.set()
    watching.join()
    wait_until(lambda: reachability._probe is None)


def wait_until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def read_with_session(database):
    return database.session.execute(Statement("SELECT 1", ()), ())


def read_with_cursor(database):
    with database.cursor() as cursor:
        cursor.execute("SELECT 1")
        return cursor.fetchall()


def read_with_server_side_cursor(database):
    with database.chunked_cursor() as cursor:
        cursor.execute("SELECT 1")
        return cursor.fetchall()


def commit(database):
    with database.wrap_database_errors:
        database.session.commit()


WAYS = [read_with_session, read_with_cursor, read_with_server_side_cursor, commit]


@pytest.mark.parametrize("work", WAYS)
def test_wait_for_a_silent_database_ends_and_the_next_connection_works(database, proxy, work):
    if work is commit:
        database.session.begin()
        database.session.flush()
    proxy.is_flowing.clear()
    started = time.monotonic()

    with pytest.raises(OperationalError) as raised:
        work(database)

    assert ALLOWED <= time.monotonic() - started < SOON
    assert isinstance(raised.value.__cause__, SilentDatabase)
    assert type(problem_of_database_error(raised.value)) is Silent
    proxy.is_flowing.set()
    wait_until(lambda: reachability._probe is None)
    with suppress(SilentDatabase):
        database.session.rollback()
    database.close()
    assert read_with_cursor(database) == [(1,)]


@pytest.mark.slow
def test_statement_that_is_answered_in_time_is_not_ended(database):
    with database.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(%s)", [ALLOWED / 2])
    time.sleep(2 * ALLOWED)  # an idle connection does not wait

    assert read_with_cursor(database) == [(1,)]


def test_connection_is_renewed_after_the_database_was_silent(database):
    before = database.connection
    assert database.is_usable()

    reachability.silences += 1

    assert not database.is_usable()
    database.close_if_unusable_or_obsolete()
    assert read_with_cursor(database) == [(1,)]
    assert database.connection is not before


def test_only_one_thread_tries_to_connect_while_the_database_is_silent(proxy, monkeypatch):
    """The others are refused at once, so that their threads are free for the next requests."""
    attempts = threading.Semaphore(0)

    def connect(**parameters):
        attempts.release()
        proxy.is_flowing.wait(10)
        return original(**parameters)

    original = deadlines.psycopg.connect
    monkeypatch.setattr(deadlines.psycopg, "connect", connect)
    wrapper = copy_connection(proxy.port)
    wrapper.ensure_connection()
    wrapper.close()
    proxy.is_flowing.clear()

    for _ in range(3):
        reachability.report_silence()
        with pytest.raises(OperationalError) as raised:
            wrapper.ensure_connection()
        assert type(problem_of_database_error(raised.value)) is Silent

    assert attempts.acquire(timeout=SOON)
    assert not attempts.acquire(blocking=False)
    proxy.is_flowing.set()
    wait_until(lambda: reachability._probe is None)
    assert read_with_cursor(wrapper) == [(1,)]
    wrapper.close()


@pytest.mark.slow
def test_connecting_to_a_silent_database_ends(proxy):
    wrapper = copy_connection(proxy.port)
    wrapper.settings_dict["OPTIONS"] = wrapper.settings_dict["OPTIONS"] | {"connect_timeout": 2}
    proxy.is_flowing.clear()

    with pytest.raises(OperationalError) as raised:
        wrapper.ensure_connection()

    assert type(problem_of_database_error(raised.value)) is Silent
    proxy.is_flowing.set()


# ---- ?pool=true ----------------------------------------------------------------------------------


@pytest.fixture
def pooled(proxy):
    """pooled() returns another connection of one pool of two."""
    made = []

    def make():
        wrapper = copy_connection(proxy.port)
        wrapper.alias = "pooled"
        wrapper.settings_dict["OPTIONS"] = wrapper.settings_dict["OPTIONS"] | {"pool_size": 2}
        made.append(wrapper)
        return wrapper

    yield make
    for wrapper in made:
        wrapper.close()
    made[0].close_pool()


def backend(database):
    with database.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0]


def test_pool_gives_a_connection_to_the_next_thread(pooled):
    first, second = pooled(), pooled()
    pid = backend(first)
    first.close()

    assert backend(second) == pid


def test_pool_refuses_when_all_connections_are_taken_for_too_long(pooled, monkeypatch):
    monkeypatch.setattr(pool, "WAIT_SECONDS", 0.05)
    first, second, third = pooled(), pooled(), pooled()
    assert backend(first) != backend(second)

    with pytest.raises(OperationalError) as raised:
        third.ensure_connection()

    assert type(problem_of_database_error(raised.value)) is Busy
    first.close()
    assert backend(third)


def test_pool_refuses_at_once_when_the_database_is_away_and_recovers(pooled, proxy):
    database = pooled()
    backend(database)
    database.close()
    proxy.end_connections()
    right = database.settings_dict["PORT"]
    database.settings_dict["PORT"] = str(free_port())
    started = time.monotonic()

    for _ in range(3):
        with pytest.raises(OperationalError) as raised:
            database.ensure_connection()
        assert type(problem_of_database_error(raised.value)) is Unavailable

    assert time.monotonic() - started < 1
    database.settings_dict["PORT"] = right
    assert backend(database)


def test_pool_drops_a_connection_that_is_in_a_transaction(pooled):
    first, second = pooled(), pooled()
    pid = backend(first)
    with first.cursor() as cursor:
        cursor.execute("BEGIN")
    first.close()

    assert backend(second) != pid
