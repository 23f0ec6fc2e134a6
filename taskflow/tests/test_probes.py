"""The port for /livez, /readyz and /metrics."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
import time
from collections import namedtuple
from contextlib import closing
from datetime import timedelta
from http.client import HTTPConnection, HTTPException

import pytest
from django.core.management import CommandError, call_command

from conftest import ApiClient, token_of
from taskflow import database_readings, monitoring
from taskflow.front import probes
from taskflow.front.probes import ProbeServer, SharedCall
from taskflow.metrics.families import Registry
from taskflow.metrics.processes import count_connections, read_processes
from taskflow.tenancy import has_roles, inside
from taskflow.tests.server import demo_environment, free_port, serve, stop
from tasks.actions.claims import complete_claim
from tasks.models import Claim, ClaimOutcome
from tasks.tests.factories import ClaimFactory

pytestmark = pytest.mark.one_database


class Application:
    """Answers 200, or waits while `unblock` is not set."""

    def __init__(self):
        self.unblock = threading.Event()
        self.unblock.set()
        self.calls = 0

    def __call__(self, environ, start_response):
        self.calls += 1
        assert environ["PATH_INFO"] == "/readyz"
        assert self.unblock.wait(30)
        start_response("200 OK", [("X-Is", "ready"), ("Content-Length", "5")])
        return [b"ready"]


@pytest.fixture
def application():
    application = Application()
    yield application
    application.unblock.set()


@pytest.fixture
def port(application):
    server = ProbeServer("127.0.0.1", 0, application, lambda: (200, [("X-Is", "text")], b"a 1\n"))
    server.start()
    yield server.server_address[1]
    server.stop()


def get(port, path, method="GET"):
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()


def test_each_path_has_its_response(port):
    assert get(port, "/livez")[::2] == (200, b'{"status": "ok"}')
    assert get(port, "/readyz")[::2] == (200, b"ready")
    assert get(port, "/metrics")[::2] == (200, b"a 1\n")
    assert get(port, "/api/v1/tasks")[0] == 404
    assert get(port, "/metrics", "POST")[0] == 501


def test_head_has_the_headers_without_a_body(port):
    status, headers, body = get(port, "/metrics?x=1", "HEAD")

    assert (status, headers["X-Is"], headers["Content-Length"], body) == (200, "text", "4", b"")


def test_response_does_not_name_the_software(port):
    assert "Server" not in get(port, "/livez")[1]


def test_livez_and_metrics_are_answered_while_the_readiness_check_waits(
    port, application, monkeypatch
):
    monkeypatch.setattr(probes, "CHECK_SECONDS", 0.05)
    application.unblock.clear()

    answers = [get(port, "/readyz") for _ in range(3)]

    assert [status for status, _, _ in answers] == [503] * 3
    assert answers[0][1]["Retry-After"] == "1"
    problem = "the check did not end within 0.05 seconds"
    assert json.loads(answers[0][2]) == {"status": "not ready", "problems": [problem]}
    assert application.calls == 1, "three checks share one thread"
    assert get(port, "/livez")[0] == get(port, "/metrics")[0] == 200


def test_too_many_connections_are_closed_and_the_next_one_is_answered(port, monkeypatch):
    silent = [
        socket.create_connection(("127.0.0.1", port)) for _ in range(probes.MAX_PROBE_CONNECTIONS)
    ]
    with pytest.raises((OSError, HTTPException)):
        for _ in range(50):  # until all of the silent ones have their threads
            get(port, "/livez")
    for connection in silent:
        connection.close()

    wait_until(lambda: is_live(port))


def is_live(port):
    try:
        return get(port, "/livez")[0] == 200
    except (OSError, HTTPException):
        return False


def wait_until(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_shared_call_runs_again_after_its_end():
    calls = []
    call = SharedCall("test", lambda: calls.append(1) or len(calls))

    assert [call.wait(30), call.wait(30)] == [1, 2]


def test_error_of_a_shared_call_reaches_its_callers():
    with pytest.raises(ZeroDivisionError):
        SharedCall("test", lambda: 1 / 0).wait(30)


# ---- what is read at a scrape --------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 3])
def test_scrape_shows_all_workers_and_the_database(db, settings, monkeypatch, workers):
    settings.PROBE_PORT = 1
    values = database_readings.read_database()
    found = monitoring.Monitoring(workers, 8000)
    for number, memory in enumerate(found.memories, 1):
        memory[Registry.PROCESS] = os.getpid() if number > 1 or workers == 1 else 0
        memory[Registry.HEARTBEAT] = monitoring.read_clock() - 7

    text = found.write(SharedCall("test", lambda: values))

    numbers = set(re.findall(r'taskflow_worker_threads{worker="(\d)"} \d+', text))
    assert numbers == ({"1"} if workers == 1 else {"2", "3"}), (
        "a worker that has not begun is left out"
    )
    assert re.search(r'taskflow_worker_heartbeat_age_seconds{worker="\d"} 7\.', text)
    assert "\ntaskflow_database_up 1\n" in text
    assert re.search(r"^taskflow_events_total \d+$", text, re.M)
    assert re.search(r"^taskflow_database_bytes [1-9]\d+$", text, re.M)


def test_scrape_does_not_wait_for_a_database_that_does_not_answer(settings, monkeypatch):
    settings.PROBE_PORT = 1
    monkeypatch.setattr(monitoring, "READING_SECONDS", 0.01)
    silent = threading.Event()

    text = monitoring.Monitoring(1, 8000).write(SharedCall("test", lambda: silent.wait(30)))
    silent.set()

    assert "\ntaskflow_database_up 0\n" in text
    assert "taskflow_events_total" not in text


def test_readings_count_the_claims_that_have_neither_ended_nor_expired(fixtures):
    with inside(fixtures.acme):
        claims = [ClaimFactory(actor=fixtures.bot, project=fixtures.apollo) for _ in range(3)]
        past = claims[0].created_at - timedelta(hours=1)
        Claim.objects.filter(pk=claims[0].pk).update(expires_at=past)
        complete_claim(fixtures.bot, claims[1], outcome=ClaimOutcome.COMPLETED)

    values = database_readings.read_database()

    # On PostgreSQL only some logins may count the claims of all tenants.
    database = database_readings.connection
    if database.vendor == "sqlite" or has_roles(database):
        assert values["taskflow_claims_open"] == 1


def test_readings_of_the_database_count_events(fixtures):
    before = database_readings.read_database()["taskflow_events_total"]
    ApiClient(token_of(fixtures.ada)).post("/tags", {"name": "x"})

    after = database_readings.read_database()

    assert after["taskflow_events_total"] > before > 0
    assert after.keys() <= database_readings.READINGS.keys()


@pytest.mark.skipif(
    "database_readings.connection.vendor != 'sqlite'", reason="the disk of PostgreSQL is elsewhere"
)
def test_free_space_on_the_disk_of_sqlite_is_read(db, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(database_readings, "disk_usage", lambda path: usage(10, 7, 3))

    assert database_readings.read_database()["taskflow_database_disk_free_bytes"] == 3


def test_processes_that_have_ended_are_left_out():
    readings = {r.name: r.values for r in read_processes({"1": os.getpid(), "2": 2**22 + 1})}

    memory = readings["taskflow_worker_resident_memory_bytes"]
    assert memory.keys() == {("1",)}
    assert memory["1",] > 10_000_000
    started = readings["taskflow_worker_start_time_seconds"]["1",]
    assert time.time() - 86_400 < started <= time.time() + 1


@pytest.mark.parametrize(
    ("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
def test_open_connections_of_a_port_are_counted(family, host):
    with socket.socket(family) as listener, socket.socket(family) as client:
        try:
            listener.bind((host, 0))
        except OSError:
            pytest.skip("this machine has no IPv6")
        listener.listen()
        port = listener.getsockname()[1]
        assert count_connections(port).values == {(): 0.0}

        client.connect((host, port))

        assert count_connections(port).values == {(): 1.0}


# ---- the command ---------------------------------------------------------------------------------


def test_probe_port_must_differ_from_the_public_port():
    with pytest.raises(CommandError) as raised:
        call_command("serve", "--port", "8123", "--probe-port", "8123")

    assert str(raised.value) == "--probe-port must be another port than --port."


def test_probe_port_that_is_taken_is_refused_in_one_sentence(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(CommandError) as raised:
            call_command("serve", "--port", str(free_port()), "--probe-port", str(port))

    assert str(raised.value) == (
        f"The port for probes is wrong. Port {port} on 127.0.0.1 cannot be used"
        " (Address already in use)."
    )


# ---- the server ----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.readme
def test_scrape_of_any_worker_shows_all_of_them_also_after_one_was_killed_or_frozen(tmp_path):
    port, probe_port, log = free_port(), free_port(), tmp_path / "log"
    options = ("--workers", "2", "--probe-port", str(probe_port))
    process = serve(port, demo_environment(tmp_path / "data"), log, *options)
    try:
        for _ in range(20):
            assert get(port, "/api/v1/tasks")[0] == 401
        counted = 'taskflow_requests_total{operation="list_tasks",method="GET",status="401"} 20\n'
        assert all(counted in scrape(probe_port) for _ in range(8))
        assert get(port, "/metrics")[0] == 404

        worker = int(re.findall(r'"worker": (\d+)', log.read_text())[-1])
        os.kill(worker, signal.SIGSTOP)
        time.sleep(2)
        os.kill(worker, signal.SIGCONT)
        wait_until(lambda: f'"worker": {worker}, "frozen_ms"' in log.read_text())

        before = start_times(probe_port)
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: len(start_times(probe_port) - before) == 1)
        assert counted in scrape(probe_port), "a new worker continues the counters"
        assert "taskflow_freezes_total 1\n" in scrape(probe_port)
    finally:
        stop(process)
    with pytest.raises(OSError):
        get(probe_port, "/livez")


def start_times(port):
    return set(re.findall(r"^taskflow_worker_start_time_seconds.* (.*)$", scrape(port), re.M))


def scrape(port):
    """The text of /metrics. A killed worker may have the first connections."""
    for _ in range(50):
        try:
            status, headers, body = get(port, "/metrics")
            break
        except (OSError, HTTPException):
            time.sleep(0.1)
    assert (status, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    return body.decode()
