"""
Measure what requests cost with ten thousand, a hundred thousand and a million tasks.

    python -m benchmarks.growth [--short] [--sizes 10000,100000,1000000] [--requests 200]

All tasks belong to one tenant, in six projects. One connection sends one request after the other.
The result is printed and put into benchmarks/RESULTS.md; with
--short, few requests at the smallest size, it is only printed.
"""

from __future__ import annotations

import argparse
import base64
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlencode

from benchmarks import report
from benchmarks.common import HOME, OTHER_CORE, Failed, say, stop_on_signals
from benchmarks.database import Database, Server
from benchmarks.stacks import Running, fetch_rows, meter, pin_tree
from benchmarks.workloads import API, Caller, Chooser, Request

PAGE, DEEP = 50, 10_000
WARM_UP = 5  # requests
LONGEST = 20  # seconds for one kind of request
HEADS = ("tasks", "request", "requests", "p50 ms", "p90 ms", "server CPU ms", "PostgreSQL CPU ms")


@dataclass(frozen=True)
class RequestKind:
    about: str
    requests: Sequence[Request]


def main() -> None:
    options = read_options()
    stop_on_signals()
    server = Server(HOME / "pg")
    rows: list[Sequence[str]] = []
    try:
        for tasks in options.sizes:
            name = server.seeded(1, tasks)
            pin_tree(server.postmaster, OTHER_CORE)
            rows += measure(server.copy(name), tasks, options.requests)
    finally:
        server.stop()
    text = render(rows, options.requests)
    say(text)
    if not options.short:
        report.write_section("Growth", text)


def measure(database: Database, tasks: int, count: int) -> list[Sequence[str]]:
    chooser = Chooser(database)
    caller = chooser.callers[0]
    one = [
        Request("GET", f"{API}/tasks/{task.id}", person.token)
        for person, task in chooser.some_tasks(count)
    ]
    running = Running("taskflow", database, Path(), one[0])
    try:
        kinds = [
            *list_request_kinds(running, database, caller),
            RequestKind("the projects, with their counts", [get(caller, "projects")]),
            RequestKind("one task", one),
        ]
        return [row(tasks, kind, *measured(running, kind, count)) for kind in kinds]
    finally:
        running.stop()


def list_request_kinds(running: Running, database: Database, caller: Caller) -> list[RequestKind]:
    """Requests for first pages and for a distant page, whose cursor is computed."""
    first = get(caller, "tasks", limit=PAGE)
    answer = running.fetch_rows(first)
    page = json.loads(answer.body)
    if page["next_cursor"] != cursor_behind(page["data"][-1]["id"]):
        raise Failed(f"Cursors look otherwise by now: {page['next_cursor']}")
    [(total,)] = database.fetch_rows(
        "SELECT count(*) FROM tasks_task WHERE tenant_id = %s", [caller.tenant_id]
    )
    number = min(DEEP, total // PAGE)
    [(last_id,)] = database.fetch_rows(
        "SELECT id FROM tasks_task WHERE tenant_id = %s ORDER BY id DESC OFFSET %s LIMIT 1",
        [caller.tenant_id, (number - 1) * PAGE - 1],
    )
    deep = get(caller, "tasks", limit=PAGE, cursor=cursor_behind(last_id))
    of_project = get(caller, "tasks", limit=PAGE, project=caller.projects[0], status="todo")
    return [
        RequestKind("all tasks, page 1", [first]),
        RequestKind(f"all tasks, page {number:,}", [deep]),
        RequestKind("a project's todo, page 1", [of_project]),
    ]


def get(caller: Caller, path: str, **query: Any) -> Request:
    return Request("GET", f"{API}/{path}?{urlencode(query)}".rstrip("?"), caller.token)


def cursor_behind(task_id: int) -> str:
    """Return the cursor that taskflow.http.paging writes for the default order."""
    text = json.dumps(["task:-id", task_id], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def measured(
    running: Running, kind: RequestKind, count: int
) -> tuple[list[float], float, float | None]:
    """Return the sorted milliseconds of the requests, and the CPU per request of both servers."""
    connection = HTTPConnection("127.0.0.1", running.port, timeout=60)
    times: list[float] = []
    try:
        send(connection, kind, WARM_UP)
        cpu = meter(running)
        times = send(connection, kind, count)
        server_cpu, database_cpu = cpu()
    finally:
        connection.close()
    per_request = None if database_cpu is None else database_cpu * 1e3 / len(times)
    return sorted(times), server_cpu * 1e3 / len(times), per_request


def send(
    connection: HTTPConnection, kind: RequestKind, count: int, longest: float = LONGEST
) -> list[float]:
    """Return the milliseconds of each request. No more are sent after `longest` seconds."""
    times: list[float] = []
    for n in range(count):
        if sum(times) > longest * 1e3:
            break
        request = kind.requests[n % len(kind.requests)]
        started = time.perf_counter()
        answer = fetch_rows(connection, request)
        times.append((time.perf_counter() - started) * 1e3)
        if not 200 <= answer.status <= 299:
            raise Failed(f"{request.path}: {answer.status} {answer.body}")
    return times


def row(
    tasks: int,
    kind: RequestKind,
    times: list[float],
    server_cpu: float,
    database_cpu: float | None,
) -> Sequence[str]:
    shown = (median(times), times[len(times) * 9 // 10], server_cpu, database_cpu)
    numbers = ("nan" if value is None else f"{value:.2f}" for value in shown)
    return (f"{tasks:,}", kind.about, str(len(times)), *numbers)


def render(rows: Sequence[Sequence[str]], requests: int) -> str:
    return (
        f"`python -m benchmarks.growth`, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC. TaskFlow, all"
        f" tasks in six projects of one tenant; up to {requests} requests, one after the other, the"
        f" caller a member. Pages of {PAGE}.\n\n" + report.table(HEADS, rows, text_columns=2)
    )


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    sizes = "10000,100000,1000000"
    parser.add_argument("--sizes", type=lambda text: [*map(int, text.split(","))], default=sizes)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--short", action="store_true", help="a quick trial; writes no file")
    if parser.parse_args().short:
        parser.set_defaults(sizes=[10_000], requests=20)
    return parser.parse_args()


if __name__ == "__main__":
    main()
