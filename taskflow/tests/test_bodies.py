"""Bodies are read before a unit of work is open, by some of the threads only."""

from __future__ import annotations

import io
import json
import socket
import sqlite3
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from http.client import HTTPConnection

import pytest
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.test import Client, RequestFactory

from taskflow.http import bodies
from taskflow.http.bodies import BLOCKING_THREADS, MAX_BODY_READERS, BodyReaders, read_body
from taskflow.http.errors import Unavailable
from taskflow.tenancy.unit import current_unit
from taskflow.tests.server import clean_environment, free_port, serve, stop
from taskflow.wsgi import application
from tasks.seeding.demo import DEMO_EMAIL, DEMO_PASSWORD

pytestmark = pytest.mark.one_database

SHORT = 0.01  # seconds
LONG = 30.0  # seconds; a test that waits so long has failed


class Input(io.BytesIO):
    """A request's body that reports the unit of work in which it is read."""

    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.units: list[object] = []

    def read(self, size: int | None = -1, /) -> bytes:
        self.units.append(current_unit())
        return super().read(size)


@pytest.fixture
def send(fixtures, as_):
    """send(method, path, body) returns status, headers and text of the WSGI application."""
    token = as_(fixtures.ada).token

    def send_request(method, path, body, length=None, content_type="application/json"):
        environ = RequestFactory().generic(method, path).environ | {
            "HTTP_HOST": "acme.localhost",
            "HTTP_AUTHORIZATION": f"Bearer {token}",
            "CONTENT_TYPE": content_type,
            "CONTENT_LENGTH": str(len(body.getvalue()) if length is None else length),
            "wsgi.input": body,
        }
        started = []
        parts = application(environ, lambda status, headers: started.append((status, headers)))
        status, headers = started[0]
        return int(status.split()[0]), dict(headers), b"".join(parts).decode()

    # Django's test client, once used, connects this again; here it would close the connection that
    # the test's transaction is in.
    signals = [
        s for s in (request_started, request_finished) if s.disconnect(close_old_connections)
    ]
    yield send_request
    for signal in signals:
        signal.connect(close_old_connections)


# ---- the limit -----------------------------------------------------------------------------------


def test_at_most_half_of_the_threads_read_bodies():
    assert BLOCKING_THREADS // 2 == MAX_BODY_READERS == bodies.readers.limit


def test_a_reader_beyond_the_limit_is_refused_once_all_others_are_slow():
    readers = BodyReaders(limit=2, max_wait=SHORT)

    with readers.enter(), readers.enter():
        for _ in range(3):
            with pytest.raises(Unavailable, match="bodies"), readers.enter():
                pass


def test_a_reader_beyond_the_limit_does_not_wait_for_slow_readers(monkeypatch):
    readers = BodyReaders(limit=1, max_wait=SHORT)
    waits = []

    with readers.enter():
        with pytest.raises(Unavailable), readers.enter():
            pass
        monkeypatch.setattr(readers._changed, "wait", waits.append)
        with pytest.raises(Unavailable), readers.enter():
            pass

    assert waits == []


def test_reader_above_the_limit_gets_the_slot_of_a_fast_reader():
    readers = BodyReaders(limit=1, max_wait=LONG)
    first_is_in, first_may_leave, second_is_in = (threading.Event() for _ in range(3))

    def read_first():
        with readers.enter():
            first_is_in.set()
            first_may_leave.wait(LONG)

    def read_second():
        with readers.enter():
            second_is_in.set()

    with ThreadPoolExecutor(2) as threads:
        threads.submit(read_first)
        assert first_is_in.wait(LONG)
        threads.submit(read_second)
        assert not second_is_in.wait(SHORT)
        first_may_leave.set()
        assert second_is_in.wait(LONG)


def test_failing_reader_releases_its_slot():
    readers = BodyReaders(limit=1, max_wait=SHORT)

    for _ in range(3):
        with pytest.raises(OSError, match="gone"), readers.enter():
            raise OSError("gone")


# ---- requests ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "content_type", "status"),
    [
        ("POST", "/api/v1/tags", "application/json", 201),
        ("POST", "/api/v1/auth/login", "application/json", 422),
        ("POST", "/api/v1/nowhere", "application/json", 404),
        ("POST", "/admin/login/", "application/x-www-form-urlencoded", 403),
        ("POST", "/livez", "application/json", 403),
    ],
)
def test_a_body_is_read_once_and_outside_every_unit_of_work(
    send, method, path, content_type, status
):
    body = Input(b'{"name": "green"}')

    answered_status, _, text = send(method, path, body, content_type=content_type)

    assert answered_status == status, text
    assert body.units == [None]


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS", "PATCH", "PUT", "POST"])
@pytest.mark.parametrize("path", ["/api/v1/tags/1", "/admin/", "/livez", "/nowhere"])
def test_request_with_a_body_takes_a_slot(send, monkeypatch, method, path):
    readers = BodyReaders(limit=1, max_wait=0)
    monkeypatch.setattr(bodies, "readers", readers)
    body = Input(b"{}")

    with readers.enter():
        status, headers, text = send(method, path, body)

    assert status == 503
    assert headers["Retry-After"] == "1"
    assert body.units == []
    if path.startswith("/api/"):
        assert headers["Content-Type"] == "application/problem+json"
        assert json.loads(text)["code"] == "unavailable"
    else:
        assert text.startswith("The server is waiting for the bodies")


def test_request_without_a_body_takes_no_slot(fixtures, as_, monkeypatch):
    readers = BodyReaders(limit=1, max_wait=0)
    monkeypatch.setattr(bodies, "readers", readers)
    ada = as_(fixtures.ada)

    with readers.enter():
        assert ada.get("/tasks").status_code == 200
        assert Client().get("/livez").status_code == 200
        assert ada.generic("POST", f"/tasks/{fixtures.task.pk}/completion").status_code == 200


@pytest.mark.parametrize(
    ("path", "limit", "kind"),
    [
        ("/api/v1/tags", 2**20, "application/problem+json"),
        ("/api/v1/projects/APO/tasks.csv", 2**22, "application/problem+json"),
        ("/api/v1/projects/APO/imports", 2**22, "application/problem+json"),
        ("/api/v1/projects/APO/imports/x", 2**20, "application/problem+json"),
        ("/admin/login/", 2**20, "text/plain; charset=utf-8"),
    ],
)
def test_a_body_above_the_limit_is_refused_unread(send, path, limit, kind):
    body = Input(b"{}")

    status, headers, _ = send("POST", path, body, limit + 1)

    assert (status, headers["Content-Type"]) == (413, kind)
    assert body.units == []


@pytest.mark.parametrize("path", ["/api/v1/tags", "/admin/login/"])
def test_a_body_that_ends_early_is_refused(send, path):
    body = Input(b'{"name": "green"}')

    status, _, text = send("POST", path, body, length=18)

    assert status == 400
    assert "shorter than its Content-Length" in text


@pytest.mark.parametrize("length", ["x", "-1", "1.5", "²"])
def test_a_content_length_that_is_no_number_is_refused(send, length):
    status, _, text = send("POST", "/api/v1/tags", Input(b"{}"), length)

    assert status == 400
    assert "Content-Length must be a number" in text


def test_a_connection_that_fails_while_the_body_is_read_is_refused():
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError("connection reset")

    request = RequestFactory().post("/api/v1/tags", {}, content_type="application/json")
    request._stream = Broken()

    refusal = read_body(request)

    assert refusal is not None
    assert refusal.status_code == 400


# ---- the server ----------------------------------------------------------------------------------


class Server:
    def __init__(self, port: int) -> None:
        self.port = port
        self.token = ""

    def call(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        text = None if body is None else json.dumps(body)
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=LONG)) as connection:
            connection.request(method, path, text, headers | {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read()

    def send_half(self, path: str) -> socket.socket:
        """A connection that announces 1,000 bytes and sends one."""
        connection = socket.create_connection(("127.0.0.1", self.port))
        connection.sendall(
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self.token}\r\n"
            "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{".encode()
        )
        return connection


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The demo on SQLite, called by its first user."""
    directory = tmp_path_factory.mktemp("server")
    port = free_port()
    process = serve(port, clean_environment(directory / "data"), directory / "log")
    try:
        server = Server(port)
        credentials = {"email": DEMO_EMAIL, "password": DEMO_PASSWORD}
        status, text = server.call("POST", "/api/v1/auth/login", credentials)
        assert status == 200
        server.token = json.loads(text)["token"]
        server.database = directory / "data" / "taskflow.sqlite3"
        yield server
    finally:
        stop(process)


@pytest.mark.slow
@pytest.mark.readme
@pytest.mark.parametrize("path", ["/api/v1/auth/login", "/api/v1/tags", "/admin/login/", "/livez"])
def test_reads_and_health_checks_succeed_beside_incomplete_bodies(server, path):
    with ExitStack() as connections:
        for _ in range(4 * BLOCKING_THREADS):
            connections.enter_context(server.send_half(path))
        read = [server.call("GET", p)[0] for p in ("/livez", "/readyz", "/api/v1/tasks")]
        write, text = server.call("POST", "/api/v1/tags", {"name": "red"})

    assert read == [200, 200, 200]
    assert write == 503
    assert json.loads(text)["code"] == "unavailable"


@pytest.mark.readme
def test_incomplete_body_holds_no_database_lock(server):
    with server.send_half("/api/v1/tags"):
        urllib.request.urlopen(f"http://127.0.0.1:{server.port}/livez").close()
        other = sqlite3.connect(server.database, timeout=0, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")
        other.close()


@pytest.mark.slow
@pytest.mark.readme
def test_burst_of_writes_with_whole_bodies_is_accepted(server):
    for n in range(100):  # until the server has closed the connections of the test above
        if server.call("POST", "/api/v1/tags", {"name": f"first {n}"})[0] == 201:
            break
        time.sleep(0.1)
    with ThreadPoolExecutor(64) as threads:
        statuses = list(
            threads.map(
                lambda n: server.call("POST", "/api/v1/tags", {"name": f"tag {n}"})[0], range(128)
            )
        )

    assert statuses == [201] * 128
