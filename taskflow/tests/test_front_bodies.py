"""Only complete bodies reach the application, and incomplete ones are bounded."""

from __future__ import annotations

import pytest

from taskflow.front import bodies
from taskflow.front.front import Front
from taskflow.http.errors import CONTENT_TYPE
from taskflow.tests.front_doubles import Application, FakeRequest, move_clock

pytestmark = pytest.mark.one_database
API = "/api/v1/tags"
LATER = 1_000.0  # seconds


@pytest.fixture
def application():
    return Application()


@pytest.fixture
def server(application):
    return Front(application, ())


@pytest.fixture
def later(monkeypatch):
    """later() moves the clock of the front on."""
    return lambda: move_clock(monkeypatch, LATER)


def test_application_gets_a_body_when_its_last_part_has_arrived(server, application):
    request = FakeRequest("POST", API, length=4)

    server.receive(request)
    request.send(b"ab")
    assert application.calls == []
    request.send(b"cd")

    assert request.response == (201, {"X-Body": "abcd"}, b"done")
    assert server.is_idle


@pytest.mark.parametrize("length", ["0", "1048577", "9" * 5_000, "-1", "x"])
def test_body_that_is_not_allowed_is_not_collected(server, application, length):
    request = FakeRequest("POST", API, content_length=length)

    server.receive(request)

    assert application.calls[0]["CONTENT_LENGTH"] == length
    assert request.parts == []


def test_body_that_takes_too_long_is_refused(server, application, later):
    request = FakeRequest("POST", API, length=4, x_request_id="mine")
    server.receive(request)
    request.send(b"ab")
    server.tend()
    assert request.response is None

    later()
    server.tend()

    status, headers, _ = request.response
    assert (status, request.problem["code"]) == (408, "request_timeout")
    assert (headers["Content-Type"], headers["Connection"]) == (CONTENT_TYPE, "close")
    assert headers["X-Request-Id"] == request.problem["request_id"] == "mine"
    assert request.parts[-1].is_cancelled
    assert server.is_idle
    assert application.calls == []


def test_refusal_outside_the_api_is_text(server, later):
    request = FakeRequest("POST", "/admin/login/", length=4)
    server.receive(request)
    later()

    server.tend()

    assert request.response[1]["Content-Type"].startswith("text/plain")
    assert request.response[2].startswith(b"The body did not arrive")


def test_defect_while_a_body_is_read_is_answered_with_500(server, monkeypatch, caplog):
    request = FakeRequest("POST", API, length=4)
    server.receive(request)
    monkeypatch.setattr(server.bodies, "hold", lambda *args: 1 / 0)

    request.send(b"abcd")

    assert request.status == 500
    assert "ZeroDivisionError" in caplog.text


def test_longer_body_has_more_time():
    class Nothing:
        protocol = FakeRequest()

    deadlines = [bodies.IncomingBody(None, Nothing(), n).deadline for n in (0, 4 * 2**20)]

    assert deadlines[1] - deadlines[0] == pytest.approx(32, abs=1)


@pytest.mark.parametrize("error", [None, OSError("reset")])
def test_connection_that_ends_within_a_body_never_reaches_the_application(
    server, application, error
):
    request = FakeRequest("POST", API, length=4)
    server.receive(request)

    request.parts[-1].finish(b"", error)

    assert application.calls == []
    assert request.status == 400
    assert server.is_idle


def test_oldest_body_is_refused_when_too_many_are_incomplete(server, monkeypatch):
    monkeypatch.setattr(bodies, "MAX_INCOMPLETE_BODIES", 2)
    requests = [FakeRequest("POST", API, length=4) for _ in range(3)]

    for request in requests:
        server.receive(request)
    requests[2].send(b"abcd")

    assert [r.status for r in requests] == [503, None, 201]
    assert requests[0].problem["code"] == "overloaded"
    assert requests[0].response[1]["Retry-After"] == "1"


def test_oldest_body_is_refused_when_bodies_are_too_long_together(server, monkeypatch):
    monkeypatch.setattr(bodies, "MAX_BODY_BYTES_HELD", 10)
    first, second, third = (FakeRequest("POST", API, length=9) for _ in range(3))

    server.receive(first)
    server.receive(second)
    first.send(b"x" * 6)
    second.send(b"x" * 6)
    second.send(b"x" * 3)
    server.receive(third)
    third.send(b"x" * 9)

    assert [r.status for r in (first, second, third)] == [503, 201, 201]


def test_incomplete_bodies_are_refused_when_the_server_stops(server):
    request = FakeRequest("POST", API, length=4)
    server.receive(request)

    server.bodies.give_up()

    assert request.status == 503
    assert server.is_idle
