"""A PostgreSQL that is silent, away or read-only, and a row that is locked for long."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import psycopg

from taskflow.tests.chaos.database import SQLite
from taskflow.tests.chaos.installation import Installation
from taskflow.tests.chaos.ledger import create_project
from taskflow.tests.chaos.postgresql import LOGIN, PostgreSQL
from taskflow.tests.chaos.report import Report
from taskflow.tests.chaos.samples import Request, Samples, sampling
from taskflow.tests.chaos.scale import Scale

SILENT_LIMIT = 6.0  # seconds until a request gets 503
TOLERANCE = 2.0  # seconds that a busy machine may add to what is promised
# The machine may be busy with other work; alone, these are answered in a few milliseconds.
LIVEZ_LIMIT = 1.0  # seconds
AWAY_LIMIT = 2.0
READ_LIMIT = 0.5
RECOVERY_LIMIT = 3.0
RECOVERY_WAIT = 15.0  # seconds that the clients go on after the fault
HOT_WRITERS = 12
WRITER_LIMIT = 8.5  # seconds: 5 in the queue for a thread, 3 for the lock


def standard_clients(installation: Installation) -> dict[str, tuple[int, Request]]:
    """Return the clients that most faults are observed with."""
    server, project = installation.server, create_project(installation)

    def task() -> object:
        return {"project_id": project, "title": "x"}

    return {
        "livez": (1, Request("GET", "/livez")),
        "readyz": (1, Request("GET", "/readyz")),
        "read": (4, Request("GET", "/api/v1/tasks?limit=20", server.token)),
        "write": (4, Request("POST", "/api/v1/tasks", server.token, task)),
    }


def observe(
    installation: Installation, begin: Callable[[], None], end: Callable[[], None], seconds: float
) -> tuple[dict[str, Samples], float, float]:
    """Let a fault last for some seconds while clients read and write.

    Return their samples, and when the fault began and ended.
    """
    with sampling(installation.port, standard_clients(installation)) as samples:
        time.sleep(1.0)
        begin()
        began = time.monotonic()
        try:
            time.sleep(seconds)
        finally:
            ended = time.monotonic()
            end()
        wait_for_success(samples["write"], ended)
    return samples, began, ended


def wait_for_success(samples: Samples, since: float) -> None:
    while time.monotonic() - since < RECOVERY_WAIT:
        if samples.first_success_after(since) is not None:
            return
        time.sleep(0.05)


def freeze_database(installation: Installation, report: Report, scale: Scale) -> None:
    """Freeze PostgreSQL: its connections stay open and nothing is answered."""
    database = postgresql_of(installation)
    observed = observe(installation, database.freeze, database.thaw, scale.silent_seconds)
    fault = f"PostgreSQL is silent for {scale.silent_seconds:.0f} s"
    report_outage(report, fault, *observed, limit=SILENT_LIMIT)


def kill_database(installation: Installation, report: Report, scale: Scale) -> None:
    """Kill PostgreSQL, and start it again."""
    database = postgresql_of(installation)
    observed = observe(installation, database.kill, database.start, scale.silent_seconds / 2)
    fault = f"PostgreSQL is away for {scale.silent_seconds / 2:.0f} s"
    report_outage(report, fault, *observed, limit=AWAY_LIMIT)


def report_outage(
    report: Report,
    fault: str,
    samples: dict[str, Samples],
    began: float,
    ended: float,
    *,
    limit: float,
) -> None:
    """Report how long requests took during an outage, /livez meanwhile, and the recovery."""
    name = PostgreSQL.name
    requests = Samples(
        samples["read"].between(began, ended).all + samples["write"].between(began, ended).all
    )
    other = {status for status in requests.statuses if status[:3] not in ("503", "200", "201")}
    report.add(
        fault,
        name,
        f"each request is answered within {limit:.0f} s, with 503",
        f"slowest {requests.worst:.1f} s: {requests.describe()}",
        is_kept=requests.worst <= limit + TOLERANCE and not other,
    )
    livez, readyz = (samples[n].between(began, ended) for n in ("livez", "readyz"))
    report.add(
        fault,
        name,
        f"/livez answers within {LIVEZ_LIMIT} s",
        f"slowest {livez.worst * 1000:.0f} ms, 99 % {livez.percentile(0.99) * 1000:.0f} ms",
        is_kept=livez.worst <= LIVEZ_LIMIT and set(livez.statuses) == {"200"},
    )
    report.add(
        fault,
        name,
        f"/readyz answers 503 within {limit:.0f} s",
        f"slowest {readyz.worst:.1f} s: {readyz.describe()}",
        is_kept=readyz.worst <= limit + TOLERANCE and set(readyz.statuses) <= {"503", "200"},
    )
    report_recovery(report, fault, samples["write"], ended)


def report_recovery(report: Report, fault: str, writes: Samples, ended: float) -> None:
    recovered = writes.first_success_after(ended)
    report.add(
        fault,
        PostgreSQL.name,
        f"writes succeed within {RECOVERY_LIMIT:.0f} s after it",
        "never" if recovered is None else f"after {recovered:.2f} s",
        is_kept=recovered is not None and recovered <= RECOVERY_LIMIT + TOLERANCE,
    )


def make_read_only(installation: Installation, report: Report, scale: Scale) -> None:
    """Let PostgreSQL accept only reads, and cut all connections, as a failover does."""
    database = postgresql_of(installation)

    def switch(value: str) -> None:
        sql = f"ALTER DATABASE {LOGIN} SET default_transaction_read_only = {value}"
        with psycopg.connect(database.server.get_uri("postgres"), autocommit=True) as connection:
            connection.execute(sql)
            if value == "on":
                connection.execute(CUT_CONNECTIONS)

    samples, began, ended = observe(
        installation, lambda: switch("on"), lambda: switch("off"), scale.read_only_seconds
    )
    fault = f"PostgreSQL is read-only for {scale.read_only_seconds:.0f} s"
    after_reconnect = began + 0.5  # requests that lost their connection are before it
    writes = samples["write"].sent_between(after_reconnect, ended - 0.1)
    report.add(
        fault,
        PostgreSQL.name,
        "writes get 503 `read_only`",
        f"slowest {writes.worst * 1000:.0f} ms: {writes.describe()}",
        is_kept=set(writes.statuses) == {"503 read_only"},
    )
    reads = samples["read"].sent_between(after_reconnect, ended - 0.1)
    report.add(
        fault,
        PostgreSQL.name,
        "reads succeed",
        f"slowest {reads.worst * 1000:.0f} ms: {reads.describe()}",
        is_kept=set(reads.statuses) == {"200"},
    )
    readyz = samples["readyz"].sent_between(after_reconnect, ended - 0.1)
    report.add(
        fault,
        PostgreSQL.name,
        "/readyz answers 503",
        readyz.describe(),
        is_kept=set(readyz.statuses) == {"503"},
    )
    report_recovery(report, fault, samples["write"], ended)


CUT_CONNECTIONS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname IS NOT NULL AND pid <> pg_backend_pid()
"""


def postgresql_of(installation: Installation) -> PostgreSQL:
    database = installation.database
    assert isinstance(database, PostgreSQL)
    return database


# ---- a hot row ------------------------------------------------------------------------------------


def lock_row(installation: Installation, report: Report, scale: Scale) -> None:
    """Lock a row from outside while 12 clients want to write it, and read as another tenant.

    SQLite has no locks of rows: there the whole file is locked.
    """
    server, other = installation.server, register(installation)
    status, text = server.call(
        "POST", "/api/v1/tasks", {"project_id": create_project(installation), "title": "hot"}
    )
    assert status == 201, text
    task = json.loads(text)["id"]
    path = f"/api/v1/tasks/{task}"
    readers = {"read": (2, Request("GET", "/api/v1/tasks?limit=20", other))}
    writers = {"write": (HOT_WRITERS, Request("PATCH", path, server.token, new_title))}
    with sampling(installation.port, readers) as alone:
        time.sleep(2.0)
    with sampling(installation.port, readers | writers) as samples:
        with locked(installation, task):
            began = time.monotonic()
            time.sleep(scale.lock_seconds)
            ended = time.monotonic()
        wait_for_success(samples["write"], ended)
    reads, writes = samples["read"].between(began, ended), samples["write"].between(began, ended)
    slow, usual = reads.percentile(0.99), alone["read"].percentile(0.99)
    fault = f"{HOT_WRITERS} writers wait for a row that is locked for {scale.lock_seconds:.0f} s"
    report.add(
        fault,
        installation.database.name,
        f"99 % of another tenant's reads take at most {READ_LIMIT} s, or three times as long as before",
        f"99 % {slow * 1000:.0f} ms ({usual * 1000:.0f} ms"
        f" without the lock), slowest {reads.worst * 1000:.0f} ms: {reads.describe()}",
        is_kept=slow <= max(READ_LIMIT, 3 * usual) and set(reads.statuses) == {"200"},
    )
    report.add(
        fault,
        installation.database.name,
        f"the writers are answered within {WRITER_LIMIT} s",
        f"slowest {writes.worst:.1f} s: {writes.describe()}",
        is_kept=writes.worst <= WRITER_LIMIT
        and all(s[:3] in ("200", "503") for s in writes.statuses),
    )


def new_title() -> object:
    return {"title": f"hot {time.monotonic_ns()}"}


def register(installation: Installation) -> str:
    """Create another tenant with some tasks. Return a token of its administrator."""
    body = {
        "tenant_name": "Other",
        "subdomain": f"other-{time.monotonic_ns()}",
        "full_name": "Olga Other",
        "email": "olga@other.example",
        "password": "a long enough passphrase",
    }
    status, text = installation.server.call("POST", "/api/v1/auth/register", body)
    assert status == 201, text
    return str(json.loads(text)["token"])


@contextmanager
def locked(installation: Installation, task: int) -> Iterator[None]:
    database = installation.database
    if isinstance(database, SQLite):
        with closing(sqlite3.connect(database.file, timeout=30, isolation_level=None)) as writer:
            writer.execute("BEGIN IMMEDIATE")
            yield
            writer.execute("ROLLBACK")
    else:
        with psycopg.connect(postgresql_of(installation).superuser) as connection:
            connection.execute(f"SELECT id FROM tasks_task WHERE id = {task} FOR UPDATE")
            yield
            connection.rollback()
