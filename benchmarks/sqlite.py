"""
Measure TaskFlow on SQLite: against two peers on the same database file, and as it grows.

    python -m benchmarks.sqlite [--tasks 100000] [--sizes 10000,100000,1000000]
        [--requests 200] [--stacks taskflow,usual,bare_sqlite] [--peers-venv PATH]

All tasks are one tenant's, in six projects; the caller is a member of all. One connection sends
one request after the other. The result is printed and put at the end of benchmarks/RESULTS.md.
Figures are CPU time of the server's processes: they hold on a machine that does other work too.
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
from benchmarks.common import HOME, REPO, Failed, end_well, say
from benchmarks.growth import WARM_UP, Question, send
from benchmarks.stacks import Running, meter, peers_venv
from benchmarks.workloads import API, BULK_SIZE, SEED, Request

STACKS = ("taskflow", "usual", "bare_sqlite")
SORTS = ("-created_at", "due_on", "-priority", "title", "-priority,due_date")
EVENTS = {"create": 1, "update": 1, "bulk": BULK_SIZE}  # that each request writes
SAMPLES = 5  # requests of each workload whose answers are compared
METHOD = """
- **taskflow**: TaskFlow as `manage.py serve` runs it, on SQLite.
- **usual**: FastAPI, SQLAlchemy 2's async ORM, aiosqlite, uvicorn; the same code as on PostgreSQL.
- **bare_sqlite**: granian's RSGI and the standard library's sqlite3; SQLite builds the JSON. Its
  lists of all projects are one plain ORDER BY … LIMIT, which shows what the merging saves.

All use the same file, with TaskFlow's indexes and statistics, WAL and synchronous=FULL, and give
the same answers, which are compared before anything is measured. Every write writes its event, or
the run stops. CPU is what the server's processes used, from /proc, divided by the requests.
"""


@dataclass(frozen=True)
class Database:
    path: Path
    postmaster: int | None = None

    @property
    def ordinary(self) -> str:
        return f"sqlite:///{self.path}"

    superuser = ordinary

    def ask(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            return connection.execute(sql, values).fetchall()

    def manage(self, *arguments: str) -> None:
        environment = os.environ | {"DATABASE_URL": self.ordinary, "TASKFLOW_DEBUG": "0"}
        command = [sys.executable, str(REPO / "manage.py"), *arguments]
        subprocess.run(command, cwd=REPO, env=environment, check=True)  # noqa: S603 - our own


def seeded(tasks: int) -> Database:
    """The database with so many tasks, made when it is not there yet."""
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
    """A member of all projects, with a token whose text follows from the user's id."""
    [(tenant, user)] = database.ask(
        "SELECT tenant_id, min(id) FROM accounts_user WHERE handle LIKE 'user-%'"
    )
    text = make_token_text(tenant, user.to_bytes(32))
    database.ask(
        "INSERT OR IGNORE INTO accounts_apitoken (tenant_id, user_id, name, prefix, digest, scope,"
        " is_sign_in, last_used_at, version, created_at, updated_at)"
        " VALUES (?, ?, 'load', ?, ?, 'write', 0, datetime('now'), 1, datetime('now'),"
        " datetime('now'))",
        [tenant, user, text[:PREFIX_LENGTH], compute_digest(text)],
    )
    projects = [pk for (pk,) in database.ask("SELECT id FROM tasks_project ORDER BY id")]
    [tasks] = database.ask("SELECT min(id), max(id) FROM tasks_task")
    return Caller(tenant, user, text, projects, tasks)


# ---- the workloads ------------------------------------------------------------------------------


def make_questions(caller: Caller, count: int) -> dict[str, Question]:
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
        "list": Question("50 tasks of a project with status todo", lists),
        "all": Question("50 tasks of all projects", [get("tasks")]),
        **{f"sort={s}": Question(f"all, sort={s}", [get(f"tasks?sort={s}")]) for s in SORTS},
        "one": Question("one task", [get(f"tasks/{some_task()}") for _ in range(count)]),
        "create": Question(
            "a new task", [Request("POST", f"{API}/tasks", caller.token, body) for body in bodies]
        ),
        "update": Question(
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
        "bulk": Question(
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


def check_answers(servers: Sequence[Running], questions: dict[str, Question]) -> None:
    """Reads must be answered with the same document, writes with one of the same form."""
    for name, question in questions.items():
        for request in question.requests[:SAMPLES]:
            answers = [(server.name, server.ask(request)) for server in servers]
            for stack, answer in answers:
                if not 200 <= answer.status <= 299:
                    raise Failed(f"{stack} answers {answer.status}: {request} {answer.body[:500]}")
            read = form if name in EVENTS else plain
            first, *others = [(stack, read(json.loads(a.body))) for stack, a in answers]
            for stack, got in others:
                if place := difference(first[1], got):
                    raise Failed(f"{name}: {stack} answers otherwise than {first[0]}: {place}")
        say(f"  {name}: the same from {', '.join(server.name for server in servers)}")


def measure(running: Running, name: str, question: Question, count: int) -> float:
    """Milliseconds of the server's CPU per request."""
    warm, rest = question, question
    if name == "update":  # no task twice, or a request would find nothing to do
        warm = Question(question.about, question.requests[:WARM_UP])
        rest = Question(question.about, question.requests[WARM_UP:])
        count = len(rest.requests)
    connection = HTTPConnection("127.0.0.1", running.port, timeout=60)
    try:
        send(connection, warm, WARM_UP)
        events, cpu = last_event(running.database), meter(running)
        sent = len(send(connection, rest, max(1, count // 20) if name == "bulk" else count))
        used, _ = cpu()
    finally:
        connection.close()
    written = last_event(running.database) - events
    if written < sent * EVENTS.get(name, 0):
        raise Failed(f"{running.name}, {name}: {written} events of {sent} requests")
    return used * 1e3 / sent


def last_event(database: Any) -> int:
    [(value,)] = database.ask("SELECT seq FROM sqlite_sequence WHERE name = 'audit_event'")
    return int(value)


def compare(options: argparse.Namespace, directory: Path) -> str:
    """The table of all stacks."""
    peers = peers_venv(options.peers_venv) if set(options.stacks) - {"taskflow"} else Path()
    seed = seeded(options.tasks)
    caller = make_caller(seed)
    questions = make_questions(caller, options.requests)
    [probe, *_] = questions["one"].requests
    servers: list[Running] = []
    try:
        for stack in options.stacks:
            servers.append(Running(stack, copied(seed, directory, stack), peers, probe))  # type: ignore[arg-type]
        check_answers(servers, questions)
        rows = []
        for name, question in questions.items():
            figures = [measure(server, name, question, options.requests) for server in servers]
            rows.append((name, question.about, *(f"{cpu:.2f}" for cpu in figures)))
            say(f"  {'  '.join(rows[-1])}")
        return report.table(("workload", "request", *options.stacks), rows, text_columns=2)
    finally:
        for server in servers:
            server.stop()


def grow(options: argparse.Namespace, directory: Path) -> str:
    """The table of TaskFlow at each size."""
    figures: dict[str, list[str]] = {}
    for size in options.sizes:
        seed = seeded(size)
        caller = make_caller(seed)
        database = copied(seed, directory, f"growth_{size}")
        questions = make_questions(caller, options.requests)
        running = Running("taskflow", database, Path(), questions["one"].requests[0])  # type: ignore[arg-type]
        try:
            for name, question in questions.items():
                cpu = measure(running, name, question, options.requests)
                figures.setdefault(f"{name}: {question.about}", []).append(f"{cpu:.2f}")
                say(f"  {size:,} {name} {cpu:.2f}")
        finally:
            running.stop()
            database.path.unlink()
    heads = ("request", *(f"{size:,} tasks" for size in options.sizes))
    return report.table(heads, [(name, *values) for name, values in figures.items()])


def main() -> None:
    options = read_options()
    end_well()
    with tempfile.TemporaryDirectory(prefix="bench") as name:
        compared, grown = compare(options, Path(name)), grow(options, Path(name))
    text = (
        f"\n`python -m benchmarks.sqlite`, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC."
        f" {report.machine()} SQLite {sqlite3.sqlite_version}, one tenant, never ANALYZEd."
        f" {options.requests} requests of each kind, one after the other; load of the machine"
        f" meanwhile: {os.getloadavg()[1]:.1f}.\n{METHOD}\n"
        f"Server CPU per request, in milliseconds, at {options.tasks:,} tasks:\n\n{compared}\n"
        f"TaskFlow's, as the tenant grows:\n\n{grown}"
    )
    say(text)
    report.write_sqlite(text)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sqlite", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument(
        "--sizes", type=lambda t: [*map(int, t.split(","))], default="10000,100000,1000000"
    )
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--stacks", type=lambda t: t.split(","), default=",".join(STACKS))
    parser.add_argument("--peers-venv", type=Path, help="with their packages installed")
    return parser.parse_args()


if __name__ == "__main__":
    main()
