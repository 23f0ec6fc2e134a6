"""A throw-away PostgreSQL whose processes can be stopped, frozen and killed."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import psycopg

from taskflow.tests import postgres

LOGIN = "ordinary"
START_SECONDS = 40


class PostgreSQL:
    """The server of one test. `directory` must be short, since it holds the socket."""

    name = "PostgreSQL"

    def __init__(self, directory: Path) -> None:
        directory.chmod(0o755)
        self.data = directory / "d"
        self.server = postgres.start(str(self.data))
        self.superuser = self.server.get_uri(LOGIN)

    @property
    def url(self) -> str:
        return postgres.url_of(str(self.data), LOGIN)

    def processes(self) -> list[int]:
        """Return the process ids of the server: the postmaster first, then its children."""
        postmaster = int((self.data / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text()
        return [postmaster, *map(int, children.split())]

    def signal(self, number: signal.Signals) -> None:
        """Send the signal to all processes of the server."""
        for process in self.processes():
            with suppress(ProcessLookupError):
                os.kill(process, number)

    def freeze(self) -> None:
        """Stop all processes, so that connections stay open and nothing is answered."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """End all processes at once, as a crash does."""
        self.signal(signal.SIGKILL)

    def start(self) -> None:
        """Start the server again. Return when it accepts connections, after its recovery."""
        (self.data / "postmaster.pid").unlink(missing_ok=True)  # of a process that was killed
        for socket in self.data.glob(".s.PGSQL.*"):
            socket.unlink()
        options = f'-h "" -k {self.data}'
        command = [str(self.server.bin_path / "pg_ctl"), "-w", "-t", str(START_SECONDS)]
        command += ["-D", str(self.data), "-l", str(self.data / "log"), "-o", options, "start"]
        owner = {"user": self.server.system_user} if self.server.system_user else {}
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", **owner)

    def execute(self, sql: str) -> list[tuple[object, ...]]:
        """Run a statement as a superuser. Return its rows, if it has any."""
        with psycopg.connect(self.superuser, autocommit=True) as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        with suppress(Exception):  # one of a test that has failed may not be running
            self.server.cleanup()
