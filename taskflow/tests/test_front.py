"""Requests wait for a thread in a fair order and for a bounded time."""

from __future__ import annotations

import threading
import time
from unittest.mock import Mock

import pytest

from taskflow.front import bodies, environ, front, lanes, streams, worker
from taskflow.front.front import Front
from taskflow.http.request_record import QUEUE_SECONDS
from taskflow.metrics import definitions
from taskflow.metrics.exposition import write_text
from taskflow.tests.front_doubles import (
    LONG,
    Application,
    FakeHeaders,
    FakeRequest,
    move_clock,
)

pytestmark = pytest.mark.one_database
API = "/api/v1/tags"
LATER = 1_000.0  # seconds


@pytest.fixture
def application():
    application = Application()
    yield application
    application.unblock.set()


@pytest.fixture
def server(application):
    server = Front(application, (("POST", "/sign-in"),))
    yield server
    application.unblock.set()
    wait_until(lambda: all(lane.is_idle for lane in server.lanes))  # the next test counts, too


@pytest.fixture
def later(monkeypatch):
    """later() moves the clock of the front on."""
    return lambda: move_clock(monkeypatch, LATER)


def take_all_slots(server, application):
    """Keep all slots for work busy, each by a request in a thread of its own."""
    requests = [FakeRequest(path="/blocked") for _ in range(front.WORK_SLOTS)]
    threads = [threading.Thread(target=server.receive, args=[r]) for r in requests]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(application.calls) == front.WORK_SLOTS)
    return requests


def wait_until(condition):
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


# ---- requests and responses ----------------------------------------------------------------------


def test_request_without_a_body_is_answered_at_once(server):
    request = FakeRequest()

    server.receive(request)

    assert request.response == (201, {"X-Body": ""}, b"done")


def test_request_that_fails_is_answered_with_500(server, caplog):
    request = FakeRequest(path="/failure")

    server.receive(request)

    assert request.status == 500
    assert "RuntimeError: a defect" in caplog.text
    assert server.is_idle


def test_response_that_cannot_be_sent_does_not_take_a_slot_for_ever(server, caplog, monkeypatch):
    broken = FakeRequest()
    monkeypatch.setattr(broken, "response_bytes", Mock(side_effect=RuntimeError("closed")))

    server.receive(broken)

    assert "RuntimeError: closed" in caplog.text
    assert server.is_idle


def test_request_that_cannot_be_received_is_answered_with_500(server, caplog):
    request = FakeRequest()
    request.server = None

    server.receive(request)

    assert request.status == 500
    assert "could not be received" in caplog.text


@pytest.mark.parametrize("size", [3, streams.MAX_STREAM_BYTES_IN_MEMORY])
def test_streamed_response_is_sent_whole_and_closed(server, size):
    class Parts:
        is_closed = False

        def __iter__(self):
            yield from (b"x" * size, b"y")

        def close(self):
            self.is_closed = True

    parts, request = Parts(), FakeRequest()

    streams.send_stream(request, 200, [], parts)

    assert request.response == (200, {}, b"x" * size + b"y")
    assert parts.is_closed


def test_livez_is_answered_while_all_slots_are_taken(server, application):
    blocked = take_all_slots(server, application)
    request = FakeRequest(path="/livez")

    server.receive(request)

    assert request.status == 200
    assert [r.status for r in blocked] == [None] * front.WORK_SLOTS


@pytest.mark.parametrize(("method", "path"), [("GET", "/readyz"), ("POST", "/sign-in")])
def test_probes_and_sign_ins_have_threads_of_their_own(server, application, method, path):
    take_all_slots(server, application)
    request = FakeRequest(method, path)

    server.receive(request)

    wait_until(lambda: request.status == 201)


@pytest.mark.parametrize(
    ("limits", "raised", "connections"),
    [
        ((1_024, 1_048_576), 16_640, 16_384),
        ((1_024, 4_096), 4_096, 3_840),
        ((65_536, 65_536), None, 16_384),
        ((worker.resource.RLIM_INFINITY, worker.resource.RLIM_INFINITY), None, 16_384),
    ],
)
def test_worker_accepts_as_many_connections_as_it_may_open_files(
    monkeypatch, limits, raised, connections
):
    found = []
    monkeypatch.setattr(worker.resource, "getrlimit", lambda kind: limits)
    monkeypatch.setattr(worker.resource, "setrlimit", lambda kind, new: found.append(new))

    assert worker.allow_connections() == connections
    assert found == ([] if raised is None else [(raised, limits[1])])


# ---- the environment -----------------------------------------------------------------------------


def build(**attributes):
    request = FakeRequest("POST")
    for name, value in attributes.items():
        setattr(request, name, value)
    return environ.build_environ(request)


def test_environment_has_what_wsgi_demands():
    built = build(path="/é", query_string="q=é", client="[::1]:5555", server="[::]:8000")

    expected = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/Ã©",
        "QUERY_STRING": "q=Ã©",
        "REMOTE_ADDR": "::1",
        "SERVER_NAME": "::",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SCRIPT_NAME": "",
        "HTTP_HOST": "localhost",
    }
    assert expected.items() <= built.items()


def test_host_is_that_of_the_url_without_a_header():
    assert build(headers=FakeHeaders(), authority="acme.example")["HTTP_HOST"] == "acme.example"


def test_headers_of_one_name_are_joined():
    headers = FakeHeaders([("cookie", "a=1"), ("cookie", "b=2"), ("x-n", "1"), ("x-n", "2")])

    built = build(headers=headers)

    assert (built["HTTP_COOKIE"], built["HTTP_X_N"]) == ("a=1;b=2", "1,2")


def test_header_with_an_underscore_does_not_pass_for_one_of_a_proxy():
    headers = FakeHeaders([("x-forwarded-for", "10.0.0.1"), ("x_forwarded_for", "6.6.6.6")])

    assert build(headers=headers)["HTTP_X_FORWARDED_FOR"] == "10.0.0.1"


def test_header_that_is_not_ascii_is_empty_and_not_missing():
    assert build(headers=FakeHeaders([("if-match", "é"), ("host", "x")]))["HTTP_IF_MATCH"] == ""


# ---- requests that wait for a thread -------------------------------------------------------------


def test_requests_that_wait_are_answered_in_the_order_of_arrival(server, application):
    take_all_slots(server, application)
    waiting = [FakeRequest(path=f"/{n}") for n in range(5)]
    for request in waiting:
        server.receive(request)
    assert [r.status for r in waiting] == [None] * 5

    application.unblock.set()
    wait_until(lambda: server.is_idle)

    assert [r.status for r in waiting] == [201] * 5
    assert sorted(application.paths[front.WORK_SLOTS :]) == [f"/{n}" for n in range(5)]


def test_many_requests_of_one_client_do_not_delay_another(server, application):
    take_all_slots(server, application)
    for n in range(50):
        server.receive(FakeRequest(path=f"/many/{n}", authorization="Bearer tf_1"))
    other = FakeRequest(path="/one", authorization="Bearer tf_2")
    other.client = "10.0.0.8:5555"
    server.receive(other)

    application.unblock.set()
    wait_until(lambda: server.is_idle)

    assert application.paths.index("/one") <= 2 * front.WORK_SLOTS


def test_names_of_headers_are_stored_up_to_a_length_and_a_number(monkeypatch):
    names = dict(environ.NAMES)
    monkeypatch.setattr(environ, "NAMES", names)
    monkeypatch.setattr(environ, "MAX_NAMES", len(names) + 1)

    for name in ("x" * 65, "x" * 60_000, "x" * 64, "y"):
        environ.name_header(name)

    assert "x" * 64 in names
    assert len(names) == environ.MAX_NAMES


def test_request_that_waits_too_long_is_refused_and_not_begun(server, application, later):
    take_all_slots(server, application)
    request = FakeRequest(path=API)
    server.receive(request)
    later()

    server.tend()
    application.unblock.set()
    wait_until(lambda: server.is_idle)

    assert (request.status, request.problem["code"]) == (503, "overloaded")
    assert request.response[1]["Retry-After"] == "1"
    assert API not in application.paths


def test_request_whose_client_is_gone_is_not_begun(server, application, monkeypatch):
    monkeypatch.setattr(lanes, "WATCH_AFTER_SECONDS", -1)
    take_all_slots(server, application)
    gone, present = FakeRequest(path="/gone"), FakeRequest(path="/present")
    server.receive(gone)
    server.receive(present)
    server.tend()

    gone.disconnect.finish()
    application.unblock.set()
    wait_until(lambda: server.is_idle)

    assert "/gone" not in application.paths
    assert present.status == 201
    assert present.disconnect.is_cancelled


def test_request_that_does_not_wait_long_is_not_watched(server, application):
    take_all_slots(server, application)
    request = FakeRequest()
    server.receive(request)

    server.tend()

    assert not request.is_watched


def test_request_is_refused_when_too_many_wait(server, application, monkeypatch):
    monkeypatch.setattr(lanes, "MAX_WAITING", 1)
    take_all_slots(server, application)
    first, second = FakeRequest(), FakeRequest()

    server.receive(first)
    server.receive(second)

    assert (first.status, second.status) == (None, 503)


# ---- what is recorded ----------------------------------------------------------------------------


@pytest.fixture
def metrics():
    """The metrics, all at 0. metrics() returns their lines."""
    definitions.registry.lay_out()
    yield lambda: write_text(definitions.registry, [definitions.registry.values]).splitlines()
    definitions.registry.lay_out()


def test_request_gets_the_time_for_which_it_has_waited(server, application, metrics):
    take_all_slots(server, application)
    server.receive(FakeRequest(path="/waiting"))
    time.sleep(0.06)
    server.tend()
    assert 'taskflow_requests_waiting{lane="work"} 1' in metrics()
    assert f'taskflow_requests_in_flight{{lane="work"}} {front.WORK_SLOTS}' in metrics()

    application.unblock.set()
    wait_until(lambda: server.is_idle)

    waited = [call[QUEUE_SECONDS] for call in application.calls]
    assert waited[-1] > 0.05
    assert f'taskflow_queue_seconds_count{{lane="work"}} {front.WORK_SLOTS + 1}' in metrics()
    server.tend()
    assert 'taskflow_requests_in_flight{lane="work"} 0' in metrics()


def test_refused_request_is_counted_by_its_code(server, application, later, metrics):
    take_all_slots(server, application)
    server.receive(FakeRequest("POST", API))
    later()

    server.tend()

    expected = 'taskflow_requests_total{operation="not_begun",method="POST",status="503"} 1'
    assert expected in metrics()
    assert 'taskflow_problems_total{code="overloaded"} 1' in metrics()


def test_request_whose_client_had_gone_before_it_was_watched_is_not_begun(
    server, application, monkeypatch
):
    monkeypatch.setattr(lanes, "WATCH_AFTER_SECONDS", -1)
    take_all_slots(server, application)
    gone = FakeRequest(path="/gone")
    gone.has_ended = True
    server.receive(gone)
    server.tend()

    application.unblock.set()
    wait_until(lambda: server.is_idle)

    assert "/gone" not in application.paths


def test_abandoned_request_is_counted(server, application, metrics, monkeypatch):
    monkeypatch.setattr(lanes, "WATCH_AFTER_SECONDS", -1)
    take_all_slots(server, application)
    gone = FakeRequest()
    server.receive(gone)
    server.tend()

    gone.disconnect.finish()
    application.unblock.set()
    wait_until(lambda: server.is_idle)

    assert "taskflow_requests_abandoned_total 1" in metrics()


def test_incomplete_bodies_are_counted(server, metrics):
    request = FakeRequest("POST", API, 100)
    server.receive(request)
    request.send(b"x" * 10)

    server.tend()

    assert "taskflow_incomplete_bodies 1" in metrics()
    assert "taskflow_body_bytes_held 10" in metrics()


@pytest.mark.parametrize(
    ("path", "origin", "is_allowed"),
    [
        (API, "https://app.example", True),
        (API, "https://other.example", False),
        (API, "", False),
        (API, "https://[", False),
        ("/admin/", "https://app.example", False),
    ],
)
def test_refusal_has_the_cors_headers_of_other_responses(
    server, settings, monkeypatch, path, origin, is_allowed
):
    settings.CORS_ALLOWED_ORIGINS = ["https://app.example"]
    request = FakeRequest("POST", path, 100, **({"origin": origin} if origin else {}))
    monkeypatch.setattr(bodies, "MAX_INCOMPLETE_BODIES", 1)
    server.receive(request)
    server.receive(FakeRequest("POST", path, 100))

    status, headers, _body = request.response
    assert status == 503
    assert headers.get("Access-Control-Allow-Origin") == (origin if is_allowed else None)
    assert ("Retry-After".lower() in headers.get("Access-Control-Expose-Headers", "")) == is_allowed
    assert headers.get("Vary", "").endswith("origin") == path.startswith("/api/")


def test_refusal_has_no_cors_headers_unless_origins_are_set(server, later):
    request = FakeRequest("POST", API, 100, origin="https://app.example")
    server.receive(request)
    later()

    server.tend()

    assert request.status == 408
    assert "Access-Control-Allow-Origin" not in request.response[1]
    assert "origin" not in request.response[1]["Vary"]
