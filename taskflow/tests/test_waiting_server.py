"""A real server with two workers: readers wait, read slowly, go away, and are sent home."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection, HTTPResponse

import pytest

from taskflow.tests.server import demo_environment, free_port, reload, serve, stop
from taskflow.tests.slow_clients import HOST, Server

pytestmark = [pytest.mark.slow, pytest.mark.readme, pytest.mark.proof]
STREAM = "text/event-stream"
LONG = 60.0  # seconds, on a machine that is busy with other tests
EVENTS = 40  # of about 60 KB


class Installation:
    """A server with the demo on SQLite, its process and its port for probes."""

    def __init__(self, directory) -> None:
        self.port, self.probe_port = free_port(), free_port()
        self.log = directory / "log"
        environment = demo_environment(directory / "data") | {
            "TASKFLOW_PROBE_PORT": str(self.probe_port)
        }
        self.process = serve(self.port, environment, self.log)
        self.client = Server(self.port)

    def add_task(self, description="") -> None:
        body = {"project": "WEB", "title": "New", "description": description}
        status, text = self.client.call("POST", "/api/v1/tasks", body)
        assert status == 201, text

    def open(self, query="", accept="application/json", **headers) -> HTTPConnection:
        """Send GET /events on a connection of its own."""
        connection = HTTPConnection(HOST, self.port, timeout=LONG)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        credentials = {"Authorization": f"Bearer {self.client.token}", "Accept": accept}
        connection.request("GET", f"/api/v1/events{query}", headers=credentials | named)
        return connection

    def count_waiting(self) -> int:
        with closing(HTTPConnection(HOST, self.probe_port, timeout=LONG)) as connection:
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode().splitlines()
        return sum(
            int(float(line.split()[-1]))
            for line in lines
            if line.startswith("taskflow_requests_held")
        )

    def until_waiting(self, count: int) -> None:
        end = time.monotonic() + LONG
        while self.count_waiting() != count:
            assert time.monotonic() < end
            time.sleep(0.1)


@pytest.fixture(scope="module")
def installation(tmp_path_factory):
    installation = Installation(tmp_path_factory.mktemp("waiting"))
    yield installation
    stop(installation.process)


def read_frames(response: HTTPResponse) -> Iterator[dict[str, str]]:
    """Yield the frames of a stream as they come, until it ends."""
    frame: dict[str, str] = {}
    for line in response:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name:
            frame[name] = value
        elif frame:
            yield frame
            frame = {}


def begin(connection: HTTPConnection) -> Iterator[dict[str, str]]:
    """Return the frames of a stream after the first two, which say where it begins."""
    response = connection.getresponse()
    assert response.status == 200
    frames = read_frames(response)
    assert "retry" in next(frames)
    assert "id" in next(frames)
    return frames


def test_readers_of_all_workers_get_the_event(installation):
    polls = [installation.open("?wait=25") for _ in range(6)]
    streams = [installation.open(accept=STREAM) for _ in range(6)]
    frames = [begin(connection) for connection in streams]
    installation.until_waiting(12)

    installation.add_task()

    for poll in polls:
        (event,) = json.loads(poll.getresponse().read())["data"]
        assert event["verb"] == "task.created"
    assert {next(of_stream)["event"] for of_stream in frames} == {"task.created"}
    for connection in (*polls, *streams):
        connection.close()
    installation.until_waiting(0)


def test_poll_is_answered_when_its_time_is_over(installation):
    started = time.monotonic()
    with closing(installation.open("?wait=1")) as connection:
        answer = json.loads(connection.getresponse().read())

    assert answer["data"] == []
    assert answer["next_cursor"]
    assert 0.9 < time.monotonic() - started < LONG


def test_poll_may_wait_longer_than_a_silent_connection(installation):
    started = time.monotonic()
    with closing(installation.open("?wait=13")) as connection:
        assert connection.getresponse().status == 200

    assert time.monotonic() - started > 12.9


def test_slow_reader_harms_nobody_and_misses_nothing(installation):
    slow = installation.open(accept=STREAM)
    slow.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    other = installation.open(accept=STREAM)
    frames = begin(other)
    installation.until_waiting(2)

    for _ in range(EVENTS):
        installation.add_task("x" * 60_000)

    seen = [next(frames)["id"] for _ in range(EVENTS)]
    late = begin(slow)
    assert [next(late)["id"] for _ in range(EVENTS)] == seen
    slow.close()
    other.close()
    installation.until_waiting(0)


def test_new_workers_end_waits_and_readers_continue(installation):
    poll, stream = installation.open("?wait=25"), installation.open(accept=STREAM)
    frames = begin(stream)
    installation.add_task()
    last = next(frames)["id"]
    poll.getresponse().read()
    poll.close()
    poll = installation.open("?wait=25")
    installation.until_waiting(2)

    reload(installation.process, installation.log)

    answer = poll.getresponse()
    assert (answer.status, answer.getheader("Connection")) == (200, "close")
    assert json.loads(answer.read())["data"] == []
    assert list(frames) == []
    poll.close()
    stream.close()
    installation.add_task()
    with closing(installation.open(accept=STREAM, last_event_id=last)) as again:
        response = again.getresponse()
        event = next(frame for frame in read_frames(response) if "data" in frame)
        assert event["event"] == "task.created"


def test_stop_ends_waits_promptly(installation):
    poll, stream = installation.open("?wait=25"), installation.open(accept=STREAM)
    frames = begin(stream)
    installation.until_waiting(2)
    started = time.monotonic()

    installation.process.terminate()

    assert json.loads(poll.getresponse().read())["data"] == []
    assert list(frames) == []
    poll.close()
    stream.close()
    assert installation.process.wait(LONG) == 0
    assert time.monotonic() - started < 20
