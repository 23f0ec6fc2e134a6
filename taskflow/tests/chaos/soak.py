"""
Hours of mixed load: does a server need more and more memory, files, threads or connections?

    python -m taskflow.tests.chaos.soak [--minutes 30]

Serves each database for so many minutes to clients that read, write, sign in, send bodies slowly and
vanish, and prints how much each figure has grown. Exits with 1 if one is not flat. `make soak` runs it.
"""

from __future__ import annotations

import argparse
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path

from taskflow.tests.chaos.figures import Figures
from taskflow.tests.chaos.installation import DATABASES, Installation, installed
from taskflow.tests.chaos.kills import report_ledger
from taskflow.tests.chaos.ledger import writing
from taskflow.tests.chaos.postgresql import PostgreSQL
from taskflow.tests.chaos.report import Report
from taskflow.tests.slow_clients import DEMO_LOGIN, HOST, Server

WORKERS = 2
SAMPLES = 120  # of each figure in one run
READS = [
    "/api/v1/tasks?limit=50",
    "/api/v1/tasks?q=a&limit=20",
    "/api/v1/projects",
    "/api/v1/search?q=launch",
    "/api/v1/tasks/counts?group_by=status",
    "/livez",
    "/readyz",
]
# How much the median of the last third may exceed that of the first third after the warm-up.
ALLOWED_GROWTH = {"RSS, MB": 8.0, "files": 20.0, "threads": 3.0, "database connections": 4.0}


def measure(installation: Installation) -> dict[str, float]:
    """Return the figures of all workers together."""
    workers = [Path(f"/proc/{pid}") for pid in installation.worker_ids()]
    status = [(worker / "status").read_text() for worker in workers]
    figures = {
        "RSS, MB": sum(number_of(text, "VmRSS") for text in status) / 1024,
        "files": float(sum(len(list((worker / "fd").iterdir())) for worker in workers)),
        "threads": float(sum(number_of(text, "Threads") for text in status)),
    }
    if installation.database.name == PostgreSQL.name:
        ((count,),) = installation.database.execute(COUNT_CONNECTIONS)
        figures["database connections"] = float(str(count))
    return figures


COUNT_CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'taskflow'"


def number_of(status: str, name: str) -> int:
    line = next(line for line in status.splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1])


# ---- clients: each sends one request, in a way that its name says -----------------------------------


def read(server: Server) -> None:
    server.call("GET", random.choice(READS))


def sign_in(server: Server) -> None:
    server.call("POST", "/api/v1/auth/login", DEMO_LOGIN)
    time.sleep(2)


def vanish(server: Server) -> None:
    """Send a request and close the connection without reading the response."""
    with socket.create_connection((HOST, server.port), 5) as connection:
        connection.sendall(server.head("GET", "/api/v1/tasks?limit=200") + b"\r\n")
        time.sleep(random.random() / 20)


def send_half_a_body(server: Server) -> None:
    with socket.create_connection((HOST, server.port), 5) as connection:
        head = server.head("POST", "/api/v1/tasks", "Content-Length: 100")
        connection.sendall(head + b"\r\n{")
        time.sleep(random.random() * 3)


def stay_silent(server: Server) -> None:
    with socket.create_connection((HOST, server.port), 5):
        time.sleep(random.random() * 15)


CLIENTS: dict[Callable[[Server], None], int] = {
    read: 4,
    vanish: 2,
    send_half_a_body: 4,
    stay_silent: 8,
    sign_in: 1,
}


@contextmanager
def mixed_load(server: Server) -> Iterator[None]:
    ended = threading.Event()

    def run(client: Callable[[Server], None]) -> None:
        while not ended.wait(0.02):
            with suppress(OSError, HTTPException):
                client(server)

    with ThreadPoolExecutor(sum(CLIENTS.values())) as threads:
        for client, count in CLIENTS.items():
            for _ in range(count):
                threads.submit(run, client)
        try:
            yield
        finally:
            ended.set()


def soak(installation: Installation, report: Report, minutes: float) -> None:
    figures: dict[str, Figures] = {}
    started = time.monotonic()
    with writing(installation, 2) as ledger, mixed_load(installation.server):
        for number in range(1, SAMPLES + 1):
            time.sleep(max(0.0, started + number * minutes * 60 / SAMPLES - time.monotonic()))
            minute = (time.monotonic() - started) / 60
            for name, value in measure(installation).items():
                figures.setdefault(name, Figures()).add(minute, value)
    fault, database = f"mixed load for {minutes:g} minutes", installation.database.name
    for name, values in figures.items():
        first, last = values.values[values.warm][0], values.values[-1]
        report.add(
            fault,
            database,
            f"{name}: grows by at most {ALLOWED_GROWTH[name]:g}",
            f"{first:.0f} after the warm-up, {last:.0f} at the end, by the medians"
            f" {values.growth:+.1f}, slope {values.slope_per_hour:+.1f} per hour",
            is_kept=values.growth <= ALLOWED_GROWTH[name],
        )
    report_ledger(report, fault, installation, ledger)


def main() -> int:
    parser = argparse.ArgumentParser("python -m taskflow.tests.chaos.soak")
    parser.add_argument("--minutes", type=float, default=30, help="on each database")
    parser.add_argument("--database", choices=DATABASES, help="only this one")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # end what was started
    report = Report()
    report.begin()
    for name, open_database in DATABASES.items():
        if options.database in (None, name):
            with installed(open_database, WORKERS) as installation:
                soak(installation, report, options.minutes)
    return int(report.has_failed)


if __name__ == "__main__":
    sys.exit(main())
