"""Measure what is done for all tenants, with few and with many of them."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

from taskflow.tests.postgres import start, url_of
from taskflow.tests.scale.copies import fill
from taskflow.tests.server import ROOT, clean_environment, free_port, serve, stop

LOGIN = "ordinary"
FEW, MANY, TASKS = 10, 10_000, 20  # tenants, and tasks of each
# The first run of the last one begins the notifications of each tenant.
TIMED_TASKS = ("purge_trash", "purge_expired", "make_notifications")
COMMANDS = [["purge"], *(["run_scheduled", "--task", name] for name in TIMED_TASKS)]
REQUESTS = 3  # of each kind, of which the fastest counts


def measure_many_tenants() -> list[str]:
    """Return the lines of the report."""
    few, many = _measure(FEW), _measure(MANY)
    return [
        f"{name}: {few[name]} with {FEW} tenants, {many[name]} with {MANY:,} tenants"
        for name in few
    ]


def _measure(tenants: int) -> dict[str, str]:
    """Return what each command and request takes in a database with so many tenants."""
    with tempfile.TemporaryDirectory(prefix="tfpg") as name:
        os.chmod(name, 0o755)
        server = start(f"{name}/d")
        try:
            environment = clean_environment(Path(name) / "data") | {
                "DATABASE_URL": url_of(f"{name}/d", LOGIN),
                "TASKFLOW_DEBUG": "0",
                "TASKFLOW_REGISTRATION": "1",
                "TASKFLOW_SCHEDULE": "0",
            }
            fill(environment, server.get_uri(LOGIN), tenants, TASKS)
            _run(environment, ["run_scheduled", "--task", "make_notifications"])
            figures = {" ".join(c): _run(environment, c) for c in COMMANDS}
            return figures | _send_requests(environment, Path(name))
        finally:
            server.cleanup()


def _run(environment: Mapping[str, str], command: list[str]) -> str:
    """Run a command of manage.py. Return its time, and the CPU time without the database."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "manage.py", *command],
        cwd=ROOT, env=dict(environment), check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return f"{seconds:.1f} s ({cpu:.1f} s of CPU)"


def _send_requests(environment: dict[str, str], directory: Path) -> dict[str, str]:
    """Register tenants, and sign in as their owners. Return the time of the fastest request."""
    port = free_port()
    server = serve(port, environment, directory / "log")
    register, sign_in = [], []
    try:
        for number in range(REQUESTS):
            login = {"email": f"olga{number}@new.example", "password": "a long enough passphrase"}
            body = {"tenant_name": f"New {number}", "subdomain": f"new-{number}",
                    "full_name": "Olga New"}  # fmt: skip
            register.append(_post(port, "/auth/register", body | login, 201))
            sign_in.append(_post(port, "/auth/login", login, 200, tenant=f"new-{number}"))
    finally:
        stop(server)
    return {
        "registration": f"{min(register) * 1000:.0f} ms",
        "sign-in": f"{min(sign_in) * 1000:.0f} ms",
    }


def _post(port: int, path: str, body: object, status: int, tenant: str = "") -> float:
    """Send a request. Return how many seconds it took."""
    headers = {"Content-Type": "application/json"} | ({"X-Tenant": tenant} if tenant else {})
    started = time.perf_counter()
    with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request("POST", f"/api/v1{path}", json.dumps(body), headers)
        response = connection.getresponse()
        text = response.read()
    assert response.status == status, text
    return time.perf_counter() - started
