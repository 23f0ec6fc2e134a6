"""Serve two tenants through PgBouncer, in transaction mode with two and six connections to PostgreSQL.

    python -m taskflow.tests.pooler

Raises AssertionError if a request fails, a tenant sees rows of the other, a task that was
acknowledged is not stored, or a transaction has not the settings of a direct connection. PgBouncer
has to be installed. `?pooler=prepared` is tried if TEST_PGBOUNCER names a PgBouncer 1.21 or newer.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psycopg

from taskflow.tests.postgres import start, url_of
from taskflow.tests.server import ROOT, clean_environment, free_port, serve, stop

LOGIN = "ordinary"
WORKERS, THREADS, ROUNDS = 2, 4, 40  # threads per tenant, rounds per thread
SIZES = (2, 6)  # connections of PgBouncer to PostgreSQL
PREPARING = (1, 21)  # the first version that prepares statements again
CONFIGURATION = """
[databases]
{login} = host={directory} user=taskflow_{login}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {size}
{more}
"""
# PostgreSQL's own defaults are 0, and 4 for the last.
SETTINGS = {
    "statement_timeout": "5s",
    "lock_timeout": "3s",
    "idle_in_transaction_session_timeout": "10s",
    "random_page_cost": "1.1",
}
DEADLINE = 6.0  # seconds, within which a request on a locked row is answered
SETTINGS_PROGRAM = """
import json
from django.db import connection
from taskflow.tenancy import inside
from taskflow.tests.pooler import SETTINGS
with inside({tenant}), connection.cursor() as cursor:
    cursor.execute("SELECT n, current_setting(n) FROM unnest(%s::text[]) n", [list(SETTINGS)])
    print(json.dumps(dict(cursor.fetchall())))
"""


@dataclass(frozen=True)
class Variant:
    """A PgBouncer, with so many connections, and the value of ?pooler= that suits it."""

    program: str
    pooler: str
    size: int

    def __str__(self) -> str:
        return f"?pooler={self.pooler}, {self.size} connections"


def list_variants() -> list[Variant]:
    """Return the variants that can be tried here."""
    variants = [Variant("pgbouncer", "true", size) for size in SIZES]
    if program := os.environ.get("TEST_PGBOUNCER"):
        assert read_version(program) >= PREPARING, f"{program} is older than 1.21."
        variants += [Variant(program, "prepared", size) for size in SIZES]
    else:
        print("?pooler=prepared was left out: TEST_PGBOUNCER names no PgBouncer 1.21 or newer.")
    return variants


def read_version(program: str) -> tuple[int, ...]:
    text = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
    return tuple(map(int, re.findall(r"\d+", text)[:2]))


@contextmanager
def pgbouncer(directory: str, server: str, variant: Variant) -> Iterator[int]:
    """Run PgBouncer in front of the server. Return its port."""
    port, file = free_port(), Path(directory) / "pgbouncer.ini"
    more = "max_prepared_statements = 200" if variant.pooler == "prepared" else ""
    values = {"login": LOGIN, "directory": server, "port": port, "size": variant.size}
    file.write_text(CONFIGURATION.format(**values, more=more))
    # It refuses to run as root, and the socket of the server is in a private directory.
    as_owner = ["-u", Path(server).owner()] if os.geteuid() == 0 else []
    process = subprocess.Popen([variant.program, "-q", *as_owner, str(file)])
    try:
        time.sleep(1)
        yield port
    finally:
        process.terminate()
        process.wait(10)


class Client:
    """A thread's connection to the product, with a token."""

    def __init__(self, port: int, token: str) -> None:
        self.connection = HTTPConnection("127.0.0.1", port, timeout=60)
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def send(self, status: int, method: str, path: str, body: Any = None) -> Any:
        text = None if body is None else json.dumps(body)
        self.connection.request(method, f"/api/v1{path}", text, self.headers)
        response = self.connection.getresponse()
        content = response.read()
        assert response.status == status, (method, path, response.status, content)
        return json.loads(content)


def check_nothing_is_left(url: str, size: int) -> None:
    """No connection to PostgreSQL, each held by a transaction, has a tenant or a role."""
    sql = "SELECT current_user::text, coalesce(current_setting('taskflow.tenant', true), '')"
    with ExitStack() as stack:
        for _ in range(size):
            connection = stack.enter_context(psycopg.connect(url))
            assert connection.execute(sql).fetchone() == (f"taskflow_{LOGIN}", "")


def work(port: int, token: str, own: set[int], foreign: int, project: int, title: str) -> int:
    """Read and write as one tenant. Return how many tasks were created."""
    client, made = Client(port, token), set[int]()
    for number in range(ROUNDS):
        rows = client.send(200, "GET", f"/tasks?limit=200&project={project}")["data"]
        assert all(row["id"] in own or row["title"].startswith(title) for row in rows), title
        body = {"project_id": project, "title": title}
        made.add(task := client.send(201, "POST", "/tasks", body)["id"])
        client.send(200, "PATCH", f"/tasks/{task}", {"title": f"{title} {number}"})
        client.send(200, "POST", f"/tasks/{task}/completion")
        client.send(404, "GET", f"/tasks/{foreign}")
        client.send(422, "POST", "/tasks", {"title": title})
    return len(made)


def run_clients(port: int, tokens: dict[int, str], rows: list[tuple[int, int, int]]) -> int:
    """Run the clients of both tenants at once. Return how many tasks they created."""
    jobs = []
    with ThreadPoolExecutor(THREADS * len(tokens)) as pool:
        for tenant, token in tokens.items():
            own = {task for owner, task, _ in rows if owner == tenant}
            foreign = next(task for owner, task, _ in rows if owner != tenant)
            project = next(project for owner, _, project in rows if owner == tenant)
            arguments = (port, token, own, foreign, project, f"of {tenant}")
            jobs += [pool.submit(work, *arguments) for _ in range(THREADS)]
    return sum(job.result() for job in jobs)


def check_deadlines(port: int, token: str, row: tuple[int, int, int], superuser: str) -> float:
    """A request on a locked row is refused in time. Return after how long."""
    _, task, _ = row
    with psycopg.connect(superuser) as other:
        other.execute("SELECT FROM tasks_task WHERE id = %s FOR UPDATE", [task])
        started = time.perf_counter()
        body = Client(port, token).send(503, "PATCH", f"/tasks/{task}", {"title": "x"})
        seconds = time.perf_counter() - started
    assert body["code"] in ("lock_timeout", "statement_timeout"), body
    assert seconds < DEADLINE, seconds
    return seconds


def read_settings(environment: dict[str, str], tenant: int) -> dict[str, str]:
    """Return the settings that a unit of work has through the pooler."""
    command = [sys.executable, "manage.py", "shell", "--verbosity", "0", "-c"]
    program = SETTINGS_PROGRAM.format(tenant=tenant)
    ended = subprocess.run(
        [*command, program], env=environment, cwd=ROOT, check=True, capture_output=True
    )
    read: dict[str, str] = json.loads(ended.stdout.splitlines()[-1])
    return read


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="tfpg") as directory:
        os.chmod(directory, 0o755)
        postgres = start(f"{directory}/d")
        try:
            run(directory, postgres.get_uri(LOGIN), list_variants())
        finally:
            postgres.cleanup()
    return 0


def run(directory: str, superuser: str, variants: list[Variant]) -> None:
    direct = clean_environment(Path(directory)) | {
        "DATABASE_URL": url_of(f"{directory}/d", LOGIN),
        "TASKFLOW_DEBUG": "0",
    }
    manage = [sys.executable, "manage.py"]
    file = Path(directory) / "tokens"
    seed = ["seed", "--tenants", "2", "--tasks", "200", "--tokens", str(file)]
    for command in (["migrate", "--verbosity", "0"], seed):
        subprocess.run([*manage, *command], env=direct, cwd=ROOT, check=True)
    tokens = dict(line.split() for line in file.read_text().splitlines()[::-1])
    for variant in variants:
        serve_through(variant, directory, superuser, direct, tokens)


def serve_through(
    variant: Variant, directory: str, superuser: str, direct: dict[str, str], tokens: dict[str, str]
) -> None:
    """Serve both tenants through PgBouncer, and check what is stored. Prints a line."""
    with (
        psycopg.connect(superuser) as database,
        pgbouncer(directory, f"{directory}/d", variant) as pooler,
    ):
        rows = database.execute("SELECT tenant_id, id, project_id FROM tasks_task").fetchall()
        database.commit()
        url = f"postgres://taskflow_{LOGIN}@127.0.0.1:{pooler}/{LOGIN}"
        port, log = free_port(), Path(directory) / "log"
        through_pooler = direct | {"DATABASE_URL": f"{url}?pooler={variant.pooler}"}
        server = serve(port, through_pooler, log, "--workers", str(WORKERS))
        started = time.perf_counter()
        try:
            made = run_clients(port, {int(t): token for t, token in tokens.items()}, rows)
            seconds = time.perf_counter() - started
            waited = check_deadlines(port, tokens[str(rows[0][0])], rows[0], superuser)
        finally:
            stop(server)
        assert read_settings(through_pooler, rows[0][0]) == SETTINGS
        check_nothing_is_left(url, variant.size)
        stored = database.execute(
            "SELECT count(*), count(*) FILTER (WHERE split_part(title, ' ', 2) <> tenant_id::text)"
            " FROM tasks_task WHERE title LIKE 'of %'"
        ).fetchone()
        database.execute("UPDATE tasks_task SET title = 'former' WHERE title LIKE 'of %'")
    assert stored == (made, 0), (stored, made)
    print(
        f"{variant}: {made * 6} requests in {seconds:.1f} s: no error, {made} tasks stored, none"
        f" elsewhere. A request on a locked row was answered after {waited:.1f} s."
    )


if __name__ == "__main__":
    sys.exit(main())
