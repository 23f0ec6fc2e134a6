"""
Measure what it costs to claim and finish a task, beside two plain changes of tasks.

    python -m benchmarks.claims [--tasks 400] [--short]

Everything runs in one process, in a new SQLite database or in the empty one that DATABASE_URL
names. Both kinds take turns, so that other load on the machine disturbs both alike. The CPU time of
the process is printed and put into benchmarks/RESULTS.md; on PostgreSQL it does not contain that of
the database. --short is for trying it: few tasks, and no file is written.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import django
from django.conf import settings
from django.core.management import call_command

from benchmarks import report
from benchmarks.common import say

LIMIT = 2.2  # times the CPU time of two plain changes
BATCH = 200  # tasks that one request creates
WARM_UP = 20  # turns that are not measured


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.claims", description=__doc__)
    parser.add_argument("--tasks", type=int, default=400, help="tasks to claim (default: 400)")
    parser.add_argument("--short", action="store_true", help="a quick trial; writes no file")
    if parser.parse_args().short:
        parser.set_defaults(tasks=20)
    options = parser.parse_args()
    with TemporaryDirectory() as directory:
        os.environ.setdefault("DATABASE_URL", f"sqlite:///{Path(directory) / 'claims.sqlite3'}")
        os.environ |= {"DJANGO_SETTINGS_MODULE": "taskflow.settings", "TASKFLOW_DEBUG": "1"}
        os.environ["TASKFLOW_LOG_LEVEL"] = "ERROR"
        text = render(options.tasks, *measure(options.tasks))
    say(text)
    if not options.short:
        report.write_section("Claims", text)


def measure(tasks: int) -> tuple[float, float]:
    """Set up the demo and take turns. Return the milliseconds of two changes, and of a claim."""
    django.setup()
    wsgi = import_module("django.test.client")
    wsgi.WSGIRequest = import_module("taskflow.http.request").Request  # as the server has it
    call_command("migrate", verbosity=0)
    token = import_module("tasks.seeding.demo").seed_demo().token
    settings.DEBUG = False  # with it, Django keeps the text of every statement
    client = wsgi.Client(SERVER_NAME="localhost", headers={"Authorization": f"Bearer {token}"})

    def send(method: str, path: str, body: object) -> Any:
        r = client.generic(
            method, f"/api/v1{path}", json.dumps(body), content_type="application/json"
        )
        assert r.status_code < 300, r.content
        return r.json()

    project = send("POST", "/projects", {"name": "Claims", "key": "CLM"})["key"]
    for start in range(0, tasks + WARM_UP, BATCH):
        new = [
            {"op": "create", "data": {"project": project, "title": f"Task {n}"}}
            for n in range(start, min(start + BATCH, tasks + WARM_UP))
        ]
        send("POST", "/tasks/bulk", {"operations": new})
    plain = claims = 0.0
    for turn in range(tasks + WARM_UP):
        first = cpu_of(lambda turn=turn: change_twice(send, project, turn))
        second = cpu_of(lambda: claim_and_finish(send, project))
        if turn >= WARM_UP:
            plain, claims = plain + first, claims + second
    return plain / tasks * 1000, claims / tasks * 1000


def render(tasks: int, plain: float, claims: float) -> str:
    vendor = settings.DATABASES["default"]["ENGINE"].rpartition(".")[2]
    return (
        f"`python -m benchmarks.claims`, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC. The peers have"
        f" no claims. {tasks} turns in one process, on {vendor}: `POST /claims` and the"
        f" completion of the claim take {claims:.2f} ms of CPU, two plain changes of a task"
        f" {plain:.2f} ms. That is {claims / plain:.2f} times as much; the limit is"
        f" {LIMIT} times.\n"
    )


def change_twice(send: Callable[[str, str, object], Any], project: str, turn: int) -> None:
    for number in (1, 2):
        send("PATCH", f"/tasks/{project}-{number}", {"description": f"Change {turn}"})


def claim_and_finish(send: Callable[[str, str, object], Any], project: str) -> None:
    (claim,) = send("POST", "/claims", {"where": {"project": [project]}})["data"]
    send("POST", f"/claims/{claim['id']}/completion", {"outcome": "completed"})


def cpu_of(work: Callable[[], None]) -> float:
    """Return the seconds of CPU that this process takes for the work."""
    started = time.process_time()
    work()
    return time.process_time() - started


if __name__ == "__main__":
    main()
