"""Writes that wait for a lock leave slots to reads, and to the writes of other tenants."""

from __future__ import annotations

import threading
import time

import pytest

from taskflow.front.front import Front
from taskflow.front.limits import MAX_WRITES, MAX_WRITES_OF_TENANT, WORK_SLOTS
from taskflow.front.shares import find_writer
from taskflow.tests.front_doubles import LONG, Application, FakeRequest, move_clock

pytestmark = pytest.mark.one_database


@pytest.fixture
def application():
    application = Application()
    yield application
    application.unblock.set()


@pytest.fixture
def server(application):
    return Front(application, ())


def token(tenant):
    return f"Bearer tf_{tenant}_secret"


def write(tenant, path="/blocked"):
    return FakeRequest("POST", path, authorization=token(tenant))


def send(server, requests):
    """Send each request in a thread of its own, as granian does."""
    for request in requests:
        threading.Thread(target=server.receive, args=[request], daemon=True).start()
    return requests


def wait_until(condition):
    end = time.monotonic() + LONG
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_blocked_writes_of_a_tenant_leave_slots_to_its_reads_and_to_other_tenants(
    server, application
):
    send(server, [write(1) for _ in range(12)])
    wait_until(lambda: len(application.calls) == MAX_WRITES_OF_TENANT)
    others = [
        FakeRequest("GET", "/read", authorization=token(1)),
        FakeRequest("GET", "/read", authorization=token(2)),
        write(2, "/write"),
    ]

    for request in others:
        server.receive(request)

    assert [request.status for request in others] == [201] * 3
    assert len(application.calls) == MAX_WRITES_OF_TENANT + len(others)


def test_blocked_writes_of_many_tenants_leave_a_slot_to_reads(server, application):
    send(server, [write(tenant) for tenant in range(12)])
    wait_until(lambda: len(application.calls) == MAX_WRITES)
    read, another = FakeRequest("GET", "/read"), write(99, "/write")

    server.receive(read)
    server.receive(another)

    assert (read.status, another.status) == (201, None)
    assert MAX_WRITES < WORK_SLOTS


def test_writes_without_a_share_are_answered_in_turn(server, application):
    requests = send(server, [write(1 + number % 3) for number in range(40)])
    wait_until(lambda: len(application.calls) == MAX_WRITES)

    application.unblock.set()
    wait_until(lambda: server.is_idle and len(application.calls) == len(requests))

    assert [request.status for request in requests] == [201] * len(requests)


def test_write_that_waits_too_long_for_a_share_is_refused(server, application, monkeypatch):
    send(server, [write(1) for _ in range(MAX_WRITES_OF_TENANT)])
    wait_until(lambda: len(application.calls) == MAX_WRITES_OF_TENANT)
    last = write(1)
    server.receive(last)

    move_clock(monkeypatch, 1_000.0)
    server.tend()

    assert last.status == 503
    assert last.response[1]["Retry-After"] == "1"
    assert len(application.calls) == MAX_WRITES_OF_TENANT


@pytest.mark.parametrize(
    ("environ", "writer"),
    [
        ({"REQUEST_METHOD": "GET", "HTTP_AUTHORIZATION": "Bearer tf_7_x"}, None),
        ({"REQUEST_METHOD": "HEAD"}, None),
        ({"REQUEST_METHOD": "PATCH", "HTTP_AUTHORIZATION": "Bearer tf_7_x"}, "7"),
        ({"REQUEST_METHOD": "PATCH", "HTTP_AUTHORIZATION": "bearer  tf_7_x"}, "7"),
        ({"REQUEST_METHOD": "POST", "HTTP_X_TENANT": "Acme", "HTTP_HOST": "h"}, "acme"),
        ({"REQUEST_METHOD": "POST", "HTTP_HOST": "acme.localhost:80"}, "acme.localhost:80"),
        ({"REQUEST_METHOD": "POST", "HTTP_AUTHORIZATION": "Basic x"}, ""),
    ],
)
def test_writer_is_the_tenant_that_a_write_names(environ, writer):
    assert find_writer(environ) == writer
