"""
What other requests get while clients are slow, silent, gone or guess passwords.

    python -m taskflow.tests.slow_clients

starts a server with the demo on SQLite, repeats every fault, and prints a table: while the fault
lasts, how many of the `GET /livez` and of a member's `GET /me` failed, and the slowest that did not.
docs/reliability.md has the figures. taskflow/tests/test_slow_clients.py repeats some faults briefly.
"""

from __future__ import annotations

import json
import resource
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from taskflow.tests.server import demo_environment, free_port, serve, stop

HOST = "127.0.0.1"
# Of the demo. Its own module can be imported only where Django is set up.
DEMO_LOGIN = {"email": "ada@acme.example", "password": "taskflow-demo-2026"}
PROBE_TIMEOUT = 5.0  # seconds, after which a probe has failed
PROBE_PAUSE = 0.05  # seconds between two probes
LONG_TITLE = "x" * 500


@dataclass
class Answers:
    """What a client got that sent the same request again and again."""

    seconds: list[float] = field(default_factory=list)  # that each successful request took
    failed: list[str] = field(default_factory=list)  # the status or exception of each other request

    @property
    def worst_ms(self) -> float:
        return max(self.seconds, default=0.0) * 1000

    def __str__(self) -> str:
        total = len(self.seconds) + len(self.failed)
        if not self.failed:
            return f"{self.worst_ms:,.0f} ms"
        kinds = ", ".join(sorted(set(self.failed)))
        return f"{len(self.failed)} of {total} failed ({kinds})"


class Server:
    """A running server, called by a user of the demo: by default its first."""

    def __init__(
        self, port: int, login: Mapping[str, str] = DEMO_LOGIN, tenant: str = "acme"
    ) -> None:
        self.port, self.tenant = port, tenant
        self.timeout = PROBE_TIMEOUT
        self.token = ""
        status, text = self.call("POST", "/api/v1/auth/login", login)
        assert status == 200, text
        self.token = str(json.loads(text)["token"])

    def call(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        with closing(self.open_request(method, path, body)) as connection:
            response = connection.getresponse()
            return response.status, response.read()

    def open_request(self, method: str, path: str, body: object = None) -> HTTPConnection:
        """Send a request. Return its connection, whose response has not been read."""
        headers = {"Content-Type": "application/json", "X-Tenant": self.tenant}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        text = None if body is None else json.dumps(body)
        connection = HTTPConnection(HOST, self.port, timeout=self.timeout)
        connection.request(method, path, text, headers)
        return connection

    def head(self, method: str, path: str, *lines: str) -> bytes:
        """Return the head of a request of the member, without the empty line at its end."""
        first = f"{method} {path} HTTP/1.1", "Host: localhost"
        return "\r\n".join((*first, f"Authorization: Bearer {self.token}", *lines, "")).encode()

    def probe(self, path: str, until: threading.Event, answers: Answers) -> None:
        """Send GET requests one after the other until the event is set."""
        while not until.wait(PROBE_PAUSE):
            started = time.monotonic()
            try:
                status = self.call("GET", path)[0]
            except (OSError, HTTPException) as error:
                answers.failed.append(type(error).__name__)
                continue
            if status == 200:
                answers.seconds.append(time.monotonic() - started)
            else:
                answers.failed.append(str(status))

    @contextmanager
    def probing(self) -> Iterator[dict[str, Answers]]:
        """Probe /livez and a member's /me while the block runs."""
        answers = {"/livez": Answers(), "/api/v1/me": Answers()}
        ended = threading.Event()
        with ThreadPoolExecutor(len(answers)) as threads:
            for path, found in answers.items():
                threads.submit(self.probe, path, ended, found)
            try:
                yield answers
            finally:
                ended.set()


def allow_many_connections() -> None:
    """Raise the limit of open files of this process as far as allowed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextmanager
def start_server(*options: str) -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as directory:
        port = free_port()
        environment = demo_environment(Path(directory) / "data")
        process = serve(port, environment, Path(directory) / "log", *options)
        try:
            yield Server(port)
        finally:
            stop(process)


# ---- faults: each returns the connections that it holds while its block runs ---------------------

Fault = Callable[[Server], AbstractContextManager[list[socket.socket]]]


def connect(server: Server, count: int, text: bytes, stack: ExitStack) -> list[socket.socket]:
    """Return connections on which `text` was sent, closed at the end of the stack."""
    connections = []
    for _ in range(count):
        connection = stack.enter_context(socket.socket())
        connection.settimeout(PROBE_TIMEOUT)
        try:
            connection.connect((HOST, server.port))
            connection.sendall(text)
        except OSError:
            continue  # the server refuses new connections: the probes show it
        connections.append(connection)
    return connections


@contextmanager
def incomplete_bodies(server: Server, count: int, path: str) -> Iterator[list[socket.socket]]:
    head = server.head("POST", path, "Content-Type: application/json", "Content-Length: 1000")
    with ExitStack() as stack:
        yield connect(server, count, head + b"\r\n{", stack)


@contextmanager
def incomplete_heads(server: Server, count: int) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield connect(server, count, server.head("GET", "/api/v1/tasks"), stack)


@contextmanager
def silent_connections(server: Server, count: int) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield connect(server, count, b"", stack)


@contextmanager
def abandoned_requests(server: Server, count: int) -> Iterator[list[socket.socket]]:
    """Requests for a long list whose clients close their connections at once."""
    with ExitStack() as stack:
        connect(server, count, server.head("GET", "/api/v1/tasks?limit=200") + b"\r\n", stack)
    yield []


@contextmanager
def slow_readers(server: Server, count: int) -> Iterator[list[socket.socket]]:
    """Requests for a long list whose clients read only the first byte of the response."""
    head = server.head("GET", "/api/v1/tasks?limit=200") + b"\r\n"
    with ExitStack() as stack:
        connections = connect(server, count, head, stack)
        for connection in connections:
            connection.settimeout(12 * PROBE_TIMEOUT)
            connection.recv(1)
        yield connections


@contextmanager
def password_guessing(server: Server, count: int) -> Iterator[list[socket.socket]]:
    """Clients that sign in with wrong passwords all the time."""
    ended = threading.Event()

    def guess(number: int) -> None:
        body = {"email": f"nobody{number}@acme.example", "password": "wrong"}
        while not ended.is_set():
            try:
                server.call("POST", "/api/v1/auth/login", body)
            except (OSError, HTTPException):
                ended.wait(0.1)

    with ThreadPoolExecutor(count) as threads:
        for number in range(count):
            threads.submit(guess, number)
        try:
            yield []
        finally:
            ended.set()


FAULTS: dict[str, Fault] = {
    "4 sign-ins with half a body": lambda s: incomplete_bodies(s, 4, "/api/v1/auth/login"),
    "8 sign-ins with half a body": lambda s: incomplete_bodies(s, 8, "/api/v1/auth/login"),
    "200 sign-ins with half a body": lambda s: incomplete_bodies(s, 200, "/api/v1/auth/login"),
    "200 new tasks with half a body": lambda s: incomplete_bodies(s, 200, "/api/v1/tasks"),
    "200 half-sent heads": lambda s: incomplete_heads(s, 200),
    "1,025 silent connections": lambda s: silent_connections(s, 1_025),
    "10,000 silent connections": lambda s: silent_connections(s, 10_000),
    "200 abandoned lists": lambda s: abandoned_requests(s, 200),
    "200 slow readers": lambda s: slow_readers(s, 200),
    "12 clients guess passwords": lambda s: password_guessing(s, 12),
}
SECONDS = 6.0  # that each fault lasts


def create_long_tasks(server: Server) -> None:
    """Create 200 tasks, whose list is 200 KB."""
    status, text = server.call("POST", "/api/v1/projects", {"name": "Long", "key": "LONG"})
    assert status == 201, text
    data = {"project_id": json.loads(text)["id"], "title": LONG_TITLE}
    for _ in range(2):
        operations = [{"op": "create", "data": data}] * 100
        status, text = server.call("POST", "/api/v1/tasks/bulk", {"operations": operations})
        assert status == 200, text


def seconds_until_a_write(server: Server) -> float:
    """Return how long it takes until a write succeeds again."""
    started = time.monotonic()
    while time.monotonic() - started < 60:
        try:
            body = {"name": f"tag {time.monotonic_ns()}"}
            if server.call("POST", "/api/v1/tags", body)[0] == 201:
                break
        except (OSError, HTTPException):
            pass
        time.sleep(0.05)
    return time.monotonic() - started


def count_closed(connections: list[socket.socket]) -> int:
    """Return how many connections the server has closed or answered."""
    closed = 0
    for connection in connections:
        connection.setblocking(False)
        try:
            connection.recv(65_536)
            closed += 1
        except BlockingIOError:
            continue
        except OSError:
            closed += 1
    return closed


def main() -> None:
    allow_many_connections()
    print("| while | slowest `GET /livez` | slowest `GET /me` | first write succeeds after |")
    print("| --- | ---: | ---: | ---: |")
    for name, fault in FAULTS.items():
        with start_server() as server:
            create_long_tasks(server)
            with fault(server), server.probing() as answers:
                time.sleep(0.5)
                write = seconds_until_a_write(server)
                time.sleep(max(0.0, SECONDS - write))
            livez, me = answers.values()
            print(f"| {name} | {livez} | {me} | {write:.1f} s |", flush=True)


if __name__ == "__main__":
    main()
