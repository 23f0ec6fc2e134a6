"""An installation of the product in a directory of its own, on SQLite or PostgreSQL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from taskflow.tests.chaos.database import Database, SQLite
from taskflow.tests.chaos.postgresql import PostgreSQL
from taskflow.tests.server import ROOT, clean_environment, free_port, list_workers, serve
from taskflow.tests.slow_clients import Server

STOP_SECONDS = 20


OpenDatabase = Callable[[Path], Database]


class Installation:
    """A database with the demo, and its server. `server` sends requests as a user of the demo."""

    def __init__(
        self,
        directory: Path,
        database: Database,
        workers: int,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.directory, self.database, self.workers = directory, database, workers
        self.port, self.log = free_port(), directory / "log"
        self.environment = clean_environment(directory / "data") | {"DATABASE_URL": database.url}
        self.environment |= settings or {}
        self.process = self.start()
        self.server = Server(self.port)

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        """Start the server. Return its process when it answers."""
        options = ("--workers", str(self.workers), *options)
        self.process = serve(self.port, self.environment, self.log, *options)
        return self.process

    def kill(self) -> None:
        """End all processes of the server at once, as a power failure does."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(STOP_SECONDS)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(STOP_SECONDS)

    def worker_ids(self) -> list[int]:
        """Return the process ids of the workers."""
        return list_workers(self.process.pid)

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def verify(self) -> str:
        """Return the last line of `manage.py verify`."""
        done = self.manage("verify")
        return (done.stdout + done.stderr).strip().splitlines()[-1]

    def count_errors(self) -> int:
        """Return how many lines of the log report a response with status 500."""
        return self.log.read_text().count('"status": 500')


def wait_until(condition: Callable[[], bool], seconds: float) -> float | None:
    """Return after how many seconds the condition was true; None if it was not within `seconds`."""
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        if condition():
            return time.monotonic() - started
        time.sleep(0.02)
    return None


@contextmanager
def installed(
    open_database: OpenDatabase, workers: int = 1, settings: Mapping[str, str] | None = None
) -> Iterator[Installation]:
    """Install the product with its demo, and serve it while the block runs.

    `settings` are further variables of its environment.
    """
    with tempfile.TemporaryDirectory(prefix="tfch") as name:
        directory = Path(name)
        database = open_database(directory)
        try:
            installation = Installation(directory, database, workers, settings)
            try:
                yield installation
            finally:
                installation.kill()
        finally:
            database.close()


Databases = dict[str, OpenDatabase]
DATABASES: Databases = {SQLite.name: SQLite, PostgreSQL.name: PostgreSQL}
