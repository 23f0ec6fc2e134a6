"""Other requests are answered while clients are slow, silent, gone or guess passwords."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import pytest

from conftest import PROOF
from taskflow.front import limits
from taskflow.tests import slow_clients
from taskflow.tests.server import demo_environment, free_port, serve, stop
from taskflow.tests.slow_clients import FAULTS, Server, count_closed, create_long_tasks

SOON = 4.0  # seconds, on a machine that is busy with other tests
pytestmark = [pytest.mark.slow, pytest.mark.readme, pytest.mark.proof]


@pytest.fixture(scope="module")
def server():
    slow_clients.allow_many_connections()
    with slow_clients.start_server() as server:
        create_long_tasks(server)
        yield server


@pytest.mark.parametrize("name", FAULTS)
def test_requests_are_answered_during(server, name):
    with FAULTS[name](server), server.probing() as answers:
        write = slow_clients.seconds_until_a_write(server)
        time.sleep(slow_clients.SECONDS if PROOF else 1)

    for path, found in answers.items():
        assert not found.failed, (path, found)
        assert found.worst_ms < SOON * 1000, (path, found)
    assert write < SOON


def test_incomplete_body_is_refused_after_its_time(server):
    with slow_clients.incomplete_bodies(server, 1, "/api/v1/tags") as (connection,):
        connection.settimeout(2 * limits.BODY_SECONDS)
        started = time.monotonic()
        answer = connection.recv(65_536).decode()
        waited = time.monotonic() - started
        end = connection.recv(65_536)

    assert answer.startswith("HTTP/1.1 408 ")
    assert '"code": "request_timeout"' in answer
    assert "x-request-id: " in answer
    assert limits.BODY_SECONDS - 1 < waited < limits.BODY_SECONDS + SOON
    assert end == b""


@pytest.mark.parametrize("fault", [slow_clients.silent_connections, slow_clients.incomplete_heads])
def test_connection_without_a_request_is_closed_after_its_time(server, fault):
    with fault(server, 3) as connections:
        assert count_closed(connections) == 0
        time.sleep(limits.HEAD_SECONDS + SOON)
        assert count_closed(connections) == 3


def test_burst_of_writes_is_accepted(server):
    with ThreadPoolExecutor(64) as threads:
        answers = threads.map(
            lambda n: server.call("POST", "/api/v1/tags", {"name": f"burst {n}"})[0], range(96)
        )

    assert set(answers) == {201}


def test_accepted_requests_are_answered_before_the_server_stops(tmp_path):
    port = free_port()
    process = serve(port, demo_environment(tmp_path / "data"), tmp_path / "log")
    with ExitStack() as stack:
        stack.callback(stop, process)
        server = Server(port)
        requests = [
            stack.enter_context(
                closing(server.open_request("POST", "/api/v1/tags", {"name": name}))
            )
            for name in "abcdefghijkl"
        ]
        time.sleep(0.2)  # until the server has accepted the connections
        process.terminate()
        statuses = [request.getresponse().status for request in requests]

    assert statuses == [201] * 12
