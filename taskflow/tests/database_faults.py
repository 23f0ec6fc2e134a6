"""
What requests get while PostgreSQL is frozen or away, or while one tenant's row is locked.

    python -m taskflow.tests.database_faults [FAULT …]

starts a throw-away PostgreSQL and a server with one worker, repeats every fault, and prints a
table. docs/reliability.md has the figures. taskflow/tests/test_database_faults.py repeats them
briefly.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import psycopg

from taskflow.tests.postgres import start, url_of
from taskflow.tests.server import clean_environment, free_port, serve, stop
from taskflow.tests.slow_clients import DEMO_LOGIN, HOST, Server

LOGIN = "ordinary"
CLIENTS = 8  # besides those that probe
TIMEOUT = 60.0  # seconds, far above every deadline
OTHER_LOGIN = DEMO_LOGIN | {"email": "mallory@globex.example"}
OTHER_TENANT = "globex"
PROJECT = "WEB"  # of the demo
PAUSE = 0.05  # seconds between two requests of a client


@dataclass
class Answers:
    """What clients got for one kind of request."""

    seconds: list[float] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    without_retry_after: int = 0

    @property
    def worst(self) -> float:
        return max(self.seconds, default=0.0)

    def percentile(self, share: float) -> float:
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} × {status}" for status, count in self.statuses.most_common())
        return f"p99 {self.percentile(0.99) * 1000:,.0f} ms, slowest {self.worst:.2f} s ({kinds})"


class Database:
    """A PostgreSQL server of our own, with its processes."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.server = start(directory)
        self.url = url_of(directory, LOGIN)
        self.superuser = self.server.get_uri(LOGIN)

    def send_signal(self, number: int) -> None:
        parent = int(Path(self.directory, "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        for pid in (parent, *map(int, children)):
            os.kill(pid, number)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        self.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.send_signal(signal.SIGCONT)

    @contextmanager
    def away(self) -> Iterator[None]:
        """Refuse all connections, as after a crash: no other socket answers at the address."""
        socket_file = next(Path(self.directory).glob(".s.PGSQL.*[0-9]"))
        hidden = socket_file.with_name("hidden")
        socket_file.rename(hidden)
        self.end_sessions()
        try:
            yield
        finally:
            hidden.rename(socket_file)

    def end_sessions(self) -> None:
        parent = int(Path(self.directory, "postmaster.pid").read_text().split()[0])
        for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
            if b" taskflow_" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(int(pid), signal.SIGTERM)

    @contextmanager
    def locked_row(self, task: int) -> Iterator[None]:
        with psycopg.connect(self.superuser) as connection:
            connection.execute("SELECT FROM tasks_task WHERE id = %s FOR UPDATE", [task])
            yield
            connection.rollback()


@contextmanager
def start_both(query: str = "", *options: str) -> Iterator[tuple[Database, Server]]:
    """Run PostgreSQL and the product with the demo."""
    with tempfile.TemporaryDirectory(prefix="tfpg") as directory:
        os.chmod(directory, 0o755)
        database = Database(f"{directory}/d")
        try:
            environment = clean_environment(Path(directory) / "data")
            environment["DATABASE_URL"] = database.url + query
            port = free_port()
            process = serve(port, environment, Path(directory) / "log", *options)
            try:
                yield database, Server(port)
            finally:
                stop(process)
        finally:
            database.server.cleanup()


# ---- clients -------------------------------------------------------------------------------------


def ask(server: Server, token: str, method: str, path: str, body: object, found: Answers) -> None:
    """Send one request, and note its answer."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    connection = HTTPConnection(HOST, server.port, timeout=TIMEOUT)
    text = None if body is None else json.dumps(body)
    started = time.monotonic()
    try:
        connection.request(method, path, text, headers)
        response = connection.getresponse()
        content = response.read()
        status = str(response.status)
        if response.status >= 400 and b'"code"' in content:
            status += f" {json.loads(content)['code']}"
        found.without_retry_after += response.status == 503 and not response.headers["Retry-After"]
    except (OSError, HTTPException) as error:
        status = type(error).__name__
    finally:
        connection.close()
    found.seconds.append(time.monotonic() - started)
    found.statuses[status] += 1


Request = tuple[str, str, str, object]  # token, method, path, body


@contextmanager
def asking(
    server: Server, requests: dict[str, tuple[int, Request]]
) -> Iterator[dict[str, Answers]]:
    """Send each request by so many clients, again and again, while the block runs."""
    found = {name: Answers() for name in requests}
    ended = threading.Event()

    def repeat(name: str, request: Request) -> None:
        token, method, path, body = request
        while not ended.wait(PAUSE):
            ask(server, token, method, path, body, found[name])

    with ThreadPoolExecutor(sum(count for count, _ in requests.values())) as threads:
        for name, (count, request) in requests.items():
            for _ in range(count):
                threads.submit(repeat, name, request)
        try:
            yield found
        finally:
            ended.set()


def usual_requests(server: Server) -> dict[str, tuple[int, Request]]:
    token = server.token
    return {
        "GET /livez": (1, (token, "GET", "/livez", None)),
        "GET /readyz": (1, (token, "GET", "/readyz", None)),
        "reads": (CLIENTS // 2, (token, "GET", "/api/v1/tasks?limit=5", None)),
        "writes": (
            CLIENTS // 2,
            (token, "POST", "/api/v1/tasks", {"project": PROJECT, "title": "x"}),
        ),
    }


def seconds_until_ready(server: Server) -> float:
    """Return how long it takes until a write succeeds."""
    started, found = time.monotonic(), Answers()
    while time.monotonic() - started < TIMEOUT and not found.statuses["201"]:
        ask(
            server, server.token, "POST", "/api/v1/tasks", {"project": PROJECT, "title": "x"}, found
        )
        time.sleep(PAUSE)
    return time.monotonic() - started


@dataclass
class Result:
    answers: dict[str, Answers]
    recovered_after: float = 0.0  # seconds


def run_outage(server: Server, outage: AbstractContextManager[None], seconds: float) -> Result:
    """Send the usual requests while the database is frozen or away."""
    with outage, asking(server, usual_requests(server)) as answers:
        time.sleep(seconds)
    return Result(answers, seconds_until_ready(server))


def hot_row(database: Database, server: Server, seconds: float) -> Result:
    """Let 12 writers of the first tenant wait for one row, while the second tenant works."""
    other = Server(server.port, OTHER_LOGIN, OTHER_TENANT)
    task = json.loads(server.call("GET", "/api/v1/tasks?limit=1")[1])["data"][0]["id"]
    own = json.loads(other.call("GET", "/api/v1/tasks?limit=1")[1])["data"][0]
    change = {"title": "x"}
    path = f"/api/v1/tasks/{own['id']}"
    requests: dict[str, tuple[int, Request]] = {
        "writers of the locked row": (12, (server.token, "PATCH", f"/api/v1/tasks/{task}", change)),
        "reads of the tenant": (2, (server.token, "GET", "/api/v1/tasks?limit=5", None)),
        "reads of another": (2, (other.token, "GET", "/api/v1/tasks?limit=5", None)),
        "writes of another": (1, (other.token, "PATCH", path, change)),
    }
    with database.locked_row(task), asking(server, requests) as answers:
        time.sleep(seconds)
    return Result(answers, seconds_until_ready(server))


FAULTS: dict[str, Callable[[Database, Server, float], Result]] = {
    "frozen": lambda d, s, seconds: run_outage(s, d.frozen(), seconds),
    "away": lambda d, s, seconds: run_outage(s, d.away(), seconds),
    "hot row": hot_row,
}
SECONDS = 15.0  # that each fault lasts


def main() -> None:
    for query in ("", "?pool=true"):
        with start_both(query) as (database, server):
            for name in sys.argv[1:] or FAULTS:
                result = FAULTS[name](database, server, SECONDS)
                print(f"{name} {query}: a write succeeds {result.recovered_after:.1f} s later")
                for request, answers in result.answers.items():
                    print(f"  {request}: {answers}", flush=True)


if __name__ == "__main__":
    main()
