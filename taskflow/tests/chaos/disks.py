"""A disk that is full: the database is on a small file system in memory."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from taskflow.tests.chaos.database import SQLite
from taskflow.tests.chaos.installation import Databases, Installation
from taskflow.tests.chaos.kills import WRITERS, report_ledger
from taskflow.tests.chaos.ledger import writing
from taskflow.tests.chaos.postgresql import PostgreSQL
from taskflow.tests.chaos.report import Report
from taskflow.tests.chaos.samples import Request, sampling
from taskflow.tests.chaos.scale import Scale

SIZES = {SQLite.name: "24m", PostgreSQL.name: "160m"}
FULL_SECONDS = 5.0  # for which the disk stays full
RECOVERY_LIMIT = 5.0


@contextmanager
def small_disk(size: str) -> Iterator[Path | None]:
    """Mount a file system of this size. Yield its directory; None if mounting is not allowed."""
    with tempfile.TemporaryDirectory(prefix="tfdk") as name:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", name]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            yield None
            return
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", "--lazy", name], check=True)


def fill_disks(report: Report, scale: Scale, databases: Databases) -> None:
    for name, open_database in databases.items():
        with small_disk(SIZES[name]) as directory:
            if directory is None:
                text = "mounting a file system is not allowed here"
                report.add("the disk is full", name, "writes get 507", text, is_kept=None)
                continue
            database = open_database(directory)
            try:
                installation = Installation(directory, database, workers=1)
                try:
                    fill_disk(installation, report, directory)
                finally:
                    installation.kill()
            finally:
                database.close()


def fill_disk(installation: Installation, report: Report, directory: Path) -> None:
    """Fill the disk while clients write, and free it again."""
    filler = directory / "filler"
    read = Request("GET", "/api/v1/tasks?limit=20", installation.server.token)
    clients = {"livez": (1, Request("GET", "/livez")), "read": (2, read)}
    with writing(installation, WRITERS) as ledger, sampling(installation.port, clients) as samples:
        time.sleep(1.0)
        filled = time.monotonic()
        keep_full(filler)
        before = ledger.statuses.copy()
        time.sleep(1.0)
        keep_full(filler)  # with what has become free since
        meanwhile = ledger.statuses - before
        freed = time.monotonic()
        filler.unlink()
        recovered = write_again(installation, freed)
    fault, name = f"the disk is full for {freed - filled:.0f} s", installation.database.name
    refused = {status: n for status, n in meanwhile.items() if status[0] != "2"}
    report.add(
        fault,
        name,
        "writes get 507",
        ", ".join(f"{n} × {status}" for status, n in refused.items()) or "no write was refused",
        is_kept=set(refused) == {"507"},
    )
    reads, livez = (samples[n].sent_between(filled, freed) for n in ("read", "livez"))
    report.add(
        fault, name, "reads succeed", reads.describe(), is_kept=set(reads.statuses) == {"200"}
    )
    report.add(
        fault,
        name,
        "/livez answers",
        f"slowest {livez.worst * 1000:.0f} ms: {livez.describe()}",
        is_kept=set(livez.statuses) == {"200"},
    )
    report.add(
        fault,
        name,
        f"writes succeed within {RECOVERY_LIMIT:.0f} s after it",
        (recovered and f"after {recovered:.2f} s") or "not within 30 s",
        is_kept=recovered is not None and recovered <= RECOVERY_LIMIT,
    )
    report_ledger(report, fault, installation, ledger)


def keep_full(filler: Path) -> None:
    """Write to the file until the disk has been full for some seconds."""
    ended = time.monotonic() + FULL_SECONDS / 2
    with filler.open("ab", buffering=0) as file:
        while time.monotonic() < ended:
            try:
                file.write(bytes(65_536))
            except OSError:  # the disk is full
                time.sleep(0.05)


def write_again(installation: Installation, since: float) -> float | None:
    """Return after how many seconds a write succeeded; None if none did within 30."""
    tag = Request(
        "POST", "/api/v1/tags", installation.server.token, lambda: {"name": f"t{time.time_ns()}"}
    )
    while time.monotonic() - since < 30:
        if tag.send(installation.port).is_success:
            return time.monotonic() - since
        time.sleep(0.1)
    return None
