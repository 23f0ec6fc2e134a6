"""Two servers that start on an empty database, and a server that is restarted under load."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from taskflow.tests.chaos.installation import Databases, Installation, wait_until
from taskflow.tests.chaos.kills import WRITERS, report_ledger
from taskflow.tests.chaos.ledger import writing
from taskflow.tests.chaos.report import Report
from taskflow.tests.chaos.samples import Request, sampling
from taskflow.tests.chaos.scale import Scale
from taskflow.tests.server import ROOT, clean_environment, free_port

START_LIMIT = 120.0  # seconds, on a busy machine
READERS = 6


def start_twice(report: Report, scale: Scale, databases: Databases) -> None:
    """Start two servers at the same time on an empty database."""
    for name, open_database in databases.items():
        with tempfile.TemporaryDirectory(prefix="tfch") as directory, ExitStack() as stack:
            database = open_database(Path(directory))
            stack.callback(database.close)
            environment = clean_environment(Path(directory) / "data")
            environment |= {"DATABASE_URL": database.url}
            logs = [Path(directory) / f"log{n}" for n in range(2)]
            started = time.monotonic()
            processes = [stack.enter_context(begin_server(environment, log)) for log in logs]
            ready = [wait_for_greeting(p, log) for p, log in zip(processes, logs, strict=True)]
            seconds = time.monotonic() - started
            ends = [
                last_line(log) for log, is_ready in zip(logs, ready, strict=True) if not is_ready
            ]
        report.add(
            "two servers start on an empty database",
            name,
            "both serve",
            "; ".join([f"{sum(ready)} of 2 serve after {seconds:.1f} s", *ends]),
            is_kept=all(ready),
        )


@contextmanager
def begin_server(environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a server without waiting for it. It is killed at the end of the block."""
    command = [sys.executable, "manage.py", "serve", "--port", str(free_port())]
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=out, stderr=out, start_new_session=True
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for_greeting(process: subprocess.Popen[bytes], log: Path) -> bool:
    """Return whether the server has started; not if it ends or takes too long."""
    ended = time.monotonic() + START_LIMIT
    while time.monotonic() < ended and process.poll() is None:
        if "TaskFlow is on" in log.read_text():
            return True
        time.sleep(0.05)
    return False


def last_line(log: Path) -> str:
    return (log.read_text().strip().splitlines() or ["no output"])[-1][:120]


def restart(installation: Installation, report: Report, scale: Scale) -> None:
    """Restart the workers with new code while six clients read and six write."""
    read = Request("GET", "/api/v1/tasks?limit=5", installation.server.token)
    with (
        writing(installation, WRITERS) as ledger,
        sampling(installation.port, {"read": (READERS, read)}) as samples,
    ):
        time.sleep(scale.round_seconds)
        seconds = []
        for _ in range(scale.restarts):
            seconds.append(restart_workers(installation))
            time.sleep(scale.round_seconds)
    fault = f"restart (SIGHUP) under load, {scale.restarts} times"
    reads = samples["read"]
    report.add(
        fault,
        installation.database.name,
        "no request is refused or cut off",
        f"{describe_restarts(seconds)}; slowest read {reads.worst:.1f} s: {reads.describe()}",
        is_kept=None not in seconds
        and set(reads.statuses) == {"200"}
        and set(ledger.statuses) <= {"200", "201"},
    )
    report_ledger(report, fault, installation, ledger)


def restart_workers(installation: Installation) -> float | None:
    """Let the server load its code anew. Return after how many seconds all workers were replaced."""
    former = set(installation.worker_ids())
    installation.process.send_signal(signal.SIGHUP)

    def are_replaced() -> bool:
        workers = set(installation.worker_ids())
        return len(workers) == installation.workers and not workers & former

    return wait_until(are_replaced, START_LIMIT)


def describe_restarts(seconds: list[float | None]) -> str:
    done = [value for value in seconds if value is not None]
    text = f"{len(done)} of {len(seconds)} have new workers"
    return f"{text} after at most {max(done):.1f} s" if done else text
