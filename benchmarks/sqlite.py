"""
Measure TaskFlow on SQLite: against two peers on the same database file, and as it grows.

    python -m benchmarks.sqlite [--short] [--tasks 100000] [--sizes 10000,100000,1000000]
        [--requests 200] [--stacks taskflow,usual,bare_sqlite] [--peers-venv PATH]

All tasks belong to one tenant, in six projects. The caller is a member of all. One connection sends
one request after the other. The result is printed and put at the end of benchmarks/RESULTS.md; with
--short, few requests at the smallest size, it is only printed.
Figures are CPU time of the server's processes, so other load of the machine matters little.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from accounts.tokens import PREFIX_LENGTH, compute_digest, make_token_text
from benchmarks import report
from benchmarks.checks import difference, form, plain
from benchmarks.common import HOME, REPO, Failed, say, stop_on_signals
from benchmarks.growth import WARM_UP, RequestKind, send
from benchmarks.stacks import Running, meter, peers_venv
from benchmarks.workloads import API, BULK_SIZE, SEED, Request

STACKS = ("taskflow", "usual", "bare_sqlite")
SORTS = ("-created_at", "due_on", "-priority", "title", "-priority,due_date")
EVENTS = {"create": 1, "update": 1, "bulk": BULK_SIZE}  # that each request writes
LONGEST = 2  # seconds for one kind of request on one stack
SAMPLES = 5  # requests of each workload whose answers are compared
METHOD = """
- **taskflow**: TaskFlow as `manage.py serve` runs it, on SQLite.
- **usual**: FastAPI, SQLAlchemy 2's async ORM, aiosqlite, uvicorn; the same code as on PostgreSQL.
- **bare_sqlite**: granian's RSGI and the standard library's sqlite3; SQLite builds the JSON. Its
  lists of all projects are one plain ORDER BY … LIMIT, which shows what the merging saves.

All use the same file, with TaskFlow's indexes and statistics, WAL and synchronous=FULL, and give
the same responses, which are compared before anything is measured. Every write has to write its
event, or the run stops. CPU is the time that the server's processes used, from /proc, divided by
the number of requests.
"""


@dataclass(frozen=True)
class Database:
    path: Path
    postmaster: int | None = None

    @property
    def ordinary(self) -> str:
        return f"sqlite:///{self.path}"

    superuser = ordinary

    def fetch_rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            return connection.execute(sql, values).fetchall()

    def manage(self, *arguments: str) -> None:
        environment = os.environ | {"DATABASE_URL": self.ordinary, "TASKFLOW_DEBUG": "0"}
        command = [sys.executable, str(REPO / "manage.py"), *arguments]
        subprocess.run(command, cwd=REPO, env=environment, check=True)  # noqa: S603 - our own


def seeded(tasks: int) -> Database:
    """Return the database with this many tasks. Create it if it does not exist."""
    path = HOME / "sqlite" / f"seed_{tasks}.sqlite3"
    if path.exists():
        return Database(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    made = Database(path.with_suffix(".unfinished"))
    for left in path.parent.glob(f"{made.path.name}*"):
        left.unlink()
    say(f"Seeding {tasks:,} tasks")
    made.manage("migrate", "-v0")
    made.manage("seed", "--tenants", "1", "--tasks", str(tasks))
    with closing(sqlite3.connect(made.path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    made.path.rename(path)
    return Database(path)


def copied(database: Database, directory: Path, name: str) -> Database:
    return Database(Path(shutil.copy(database.path, directory / f"{name}.sqlite3")))


@dataclass(frozen=True)
class Caller:
    tenant: int
    user: int
    token: str
    projects: Sequence[int]
    tasks: tuple[int, int]  # the first and the last id


def make_caller(database: Database) -> Caller:
    """Return a member of all projects, with a token whose text is computed from the user's id."""
    [(tenant, user)] = database.fetch_rows(
        "SELECT tenant_id, min(id) FROM accounts_user WHERE handle LIKE 'user-%'"
    )
    text = make_token_text(tenant, user.to_bytes(32))
    database.fetch_rows(
        "INSERT OR IGNORE INTO accounts_apitoken (tenant_id, user_id, name, prefix, digest, scope,"
        " is_sign_in, last_used_at, version, created_at, updated_at)"
        " VALUES (?, ?, 'load', ?, ?, 'write', 0, datetime('now'), 1, datetime('now'),"
        " datetime('now'))",
        [tenant, user, text[:PREFIX_LENGTH], compute_digest(text)],
    )
    projects = [pk for (pk,) in database.fetch_rows("SELECT id FROM tasks_project ORDER BY id")]
    [tasks] = database.fetch_rows("SELECT min(id), max(id) FROM tasks_task")
    return Caller(tenant, user, text, projects, tasks)


# ---- the workloads ------------------------------------------------------------------------------


def make_request_kinds(caller: Caller, count: int) -> dict[str, RequestKind]:
    chance = random.Random(SEED)  # noqa: S311 - no secret

    def get(path: str) -> Request:
        return Request("GET", f"{API}/{path}", caller.token)

    def some_task() -> int:
        return chance.randint(*caller.tasks)

    lists = [get(f"tasks?project={project}&status=todo") for project in caller.projects]
    bodies = [new_task(caller, chance.choice(caller.projects), n) for n in range(count)]
    edits = {some_task(): n for n in range(count)}
    bulk = [
        {"op": "create", "data": {"project_id": caller.projects[0], "title": f"Line {n}"}}
        for n in range(BULK_SIZE)
    ]
    return {
        "list": RequestKind("50 tasks of a project with status todo", lists),
        "all": RequestKind("50 tasks of all projects", [get("tasks")]),
        **{f"sort={s}": RequestKind(f"all, sort={s}", [get(f"tasks?sort={s}")]) for s in SORTS},
        "one": RequestKind("one task", [get(f"tasks/{some_task()}") for _ in range(count)]),
        "create": RequestKind(
            "a new task", [Request("POST", f"{API}/tasks", caller.token, body) for body in bodies]
        ),
        "update": RequestKind(
            "a task's title and priority",
            [
                Request(
                    "PATCH",
                    f"{API}/tasks/{task}",
                    caller.token,
                    {"title": f"Look after it, {n}", "priority": ("high", "low")[n % 2]},
                )
                for task, n in edits.items()
            ],
        ),
        "bulk": RequestKind(
            f"{BULK_SIZE} new tasks in one request",
            [Request("POST", f"{API}/tasks/bulk", caller.token, {"operations": bulk})],
        ),
    }


def new_task(caller: Caller, project: int, number: int) -> dict[str, Any]:
    return {
        "project_id": project,
        "title": f"Check the delivery {number}",
        "description": "Is it whole, and is it what was ordered?",
        "priority": ("low", "medium", "high")[number % 3],
        "assignee_id": caller.user,
    }


# ---- measuring ----------------------------------------------------------------------------------


def check_answers(servers: Sequence[Running], kinds: dict[str, RequestKind]) -> None:
    """Raise Failed unless the stacks answer reads with the same JSON, writes with the same form."""
    for name, kind in kinds.items():
        for request in kind.requests[:SAMPLES]:
            answers = [(server.name, server.fetch_rows(request)) for server in servers]
            for stack, answer in answers:
                if not 200 <= answer.status <= 299:
                    raise Failed(f"{stack} answers {answer.status}: {request} {answer.body[:500]}")
            read = form if name in EVENTS else plain
            first, *others = [(stack, read(json.loads(a.body))) for stack, a in answers]
            for stack, got in others:
                if pointer := difference(first[1], got):
                    raise Failed(f"{name}: {stack} answers otherwise than {first[0]}: {pointer}")
        say(f"  {name}: the same from {', '.join(server.name for server in servers)}")


def measure(running: Running, name: str, kind: RequestKind, count: int) -> float:
    """Return the milliseconds of the server's CPU per request."""
    warm, rest = kind, kind
    if name == "update":  # no task twice, or a request would change nothing
        warm = RequestKind(kind.about, kind.requests[:WARM_UP])
        rest = RequestKind(kind.about, kind.requests[WARM_UP:])
        count = len(rest.requests)
    connection = HTTPConnection("127.0.0.1", running.port, timeout=60)
    try:
        send(connection, warm, WARM_UP)
        events, cpu = last_event(running.database), meter(running)
        number = max(1, count // 20) if name == "bulk" else count
        sent = len(send(connection, rest, number, LONGEST))
        used, _ = cpu()
    finally:
        connection.close()
    written = last_event(running.database) - events
    if written < sent * EVENTS.get(name, 0):
        raise Failed(f"{running.name}, {name}: {written} events of {sent} requests")
    return used * 1e3 / sent


def last_event(database: Any) -> int:
    [(value,)] = database.fetch_rows("SELECT seq FROM sqlite_sequence WHERE name = 'audit_event'")
    return int(value)


def compare(options: argparse.Namespace, directory: Path) -> str:
    """Return the table of all stacks."""
    peers = peers_venv(options.peers_venv) if set(options.stacks) - {"taskflow"} else Path()
    seed = seeded(options.tasks)
    caller = make_caller(seed)
    kinds = make_request_kinds(caller, options.requests)
    [probe, *_] = kinds["one"].requests
    servers: list[Running] = []
    try:
        for stack in options.stacks:
            servers.append(Running(stack, copied(seed, directory, stack), peers, probe))  # type: ignore[arg-type]
        check_answers(servers, kinds)
        rows = []
        for name, kind in kinds.items():
            figures = [measure(server, name, kind, options.requests) for server in servers]
            rows.append((name, kind.about, *(f"{cpu:.2f}" for cpu in figures)))
            say(f"  {'  '.join(rows[-1])}")
        return report.table(("workload", "request", *options.stacks), rows, text_columns=2)
    finally:
        for server in servers:
            server.stop()


def grow(options: argparse.Namespace, directory: Path) -> str:
    """Return the table of TaskFlow at each size."""
    figures: dict[str, list[str]] = {}
    for size in options.sizes:
        seed = seeded(size)
        caller = make_caller(seed)
        database = copied(seed, directory, f"growth_{size}")
        kinds = make_request_kinds(caller, options.requests)
        running = Running("taskflow", database, Path(), kinds["one"].requests[0])  # type: ignore[arg-type]
        try:
            for name, kind in kinds.items():
                cpu = measure(running, name, kind, options.requests)
                figures.setdefault(f"{name}: {kind.about}", []).append(f"{cpu:.2f}")
                say(f"  {size:,} {name} {cpu:.2f}")
        finally:
            running.stop()
            database.path.unlink()
    heads = ("request", *(f"{size:,} tasks" for size in options.sizes))
    return report.table(heads, [(name, *values) for name, values in figures.items()])


def main() -> None:
    options = read_options()
    stop_on_signals()
    with tempfile.TemporaryDirectory(prefix="bench") as name:
        compared, grown = compare(options, Path(name)), grow(options, Path(name))
    text = (
        f"`python -m benchmarks.sqlite`, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC."
        f" {report.machine()} SQLite {sqlite3.sqlite_version}, one tenant, never ANALYZEd."
        f" Up to {options.requests} requests of a kind in {LONGEST} seconds, one after the other;"
        f" load of the machine during the run: {os.getloadavg()[1]:.1f}.\n{METHOD}\n"
        f"Server CPU per request, in milliseconds, at {options.tasks:,} tasks:\n\n{compared}\n"
        f"TaskFlow, as the tenant grows:\n\n{grown}"
    )
    say(text)
    if not options.short:
        report.write_section("SQLite", text)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sqlite", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument(
        "--sizes", type=lambda t: [*map(int, t.split(","))], default="10000,100000,1000000"
    )
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--short", action="store_true", help="a quick trial; writes no file")
    parser.add_argument("--stacks", type=lambda t: t.split(","), default=",".join(STACKS))
    parser.add_argument("--peers-venv", type=Path, help="with their packages installed")
    if parser.parse_args().short:
        parser.set_defaults(tasks=10_000, sizes=[10_000], requests=20)
    return parser.parse_args()


if __name__ == "__main__":
    main()
