"""Bodies are read before a unit of work is open, and refused by their length."""

from __future__ import annotations

import io

import pytest
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.test import RequestFactory

from taskflow.http.bodies import read_body
from taskflow.tenancy.unit import current_unit
from taskflow.wsgi import application

pytestmark = pytest.mark.one_database


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


@pytest.mark.parametrize(
    ("path", "limit", "kind"),
    [
        ("/api/v1/tags", 2**20, "application/problem+json"),
        ("/api/v1/projects/APO/tasks.csv", 2**22, "application/problem+json"),
        ("/api/v1/projects/APO/imports", 2**22, "application/problem+json"),
        ("/api/v1/projects/APO/imports/x", 2**20, "application/problem+json"),
        ("/admin/import/", 2**22, "text/html; charset=utf-8"),
        ("/admin/login/", 2**20, "text/html; charset=utf-8"),
        ("/metrics", 2**20, "text/plain; charset=utf-8"),
    ],
)
def test_a_body_above_the_limit_is_refused_unread(send, path, limit, kind):
    body = Input(b"{}")

    status, headers, _ = send("POST", path, body, limit + 1)

    assert (status, headers["Content-Type"]) == (413, kind)
    assert body.units == []


def test_a_file_above_the_limit_is_refused_with_a_page(send):
    _, _, text = send("POST", "/admin/import/", Input(b""), 2**22 + 1)

    assert "The file has more than 4 MiB. Split it, and import the parts." in text
    assert '<a class="font-medium text-primary-600 underline" href="/admin/import/">' in text


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
