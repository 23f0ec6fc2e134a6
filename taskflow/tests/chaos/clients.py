"""Clients that are slow, silent or gone: the faults of slow_clients.py as rows of the table."""

from __future__ import annotations

import time

from taskflow.tests import slow_clients
from taskflow.tests.chaos.database import SQLite
from taskflow.tests.chaos.installation import Databases
from taskflow.tests.chaos.report import Report
from taskflow.tests.chaos.scale import Scale
from taskflow.tests.slow_clients import FAULTS, create_long_tasks, seconds_until_a_write

CHOSEN = [
    "200 new tasks with half a body",
    "200 slow readers",
    "10,000 silent connections",
    "200 abandoned lists",
    "12 clients guess passwords",
]
LIMIT = 4.0  # seconds, on a machine that is busy with other work
SETTLE_SECONDS = 1.0


def run_slow_clients(report: Report, scale: Scale, databases: Databases) -> None:
    if SQLite.name not in databases:
        return
    slow_clients.allow_many_connections()
    with slow_clients.start_server() as server:
        create_long_tasks(server)
        for name in CHOSEN:
            with FAULTS[name](server), server.probing() as answers:
                write = seconds_until_a_write(server)
                time.sleep(scale.slow_seconds)
            livez, me = answers.values()
            report.add(
                name,
                SQLite.name,
                f"/livez, /me and a write are answered within {LIMIT:.0f} s",
                f"{livez}, {me}, {write * 1000:,.0f} ms",
                is_kept=not livez.failed
                and not me.failed
                and max(livez.worst_ms, me.worst_ms, write * 1000) <= LIMIT * 1000,
            )
            time.sleep(SETTLE_SECONDS)
