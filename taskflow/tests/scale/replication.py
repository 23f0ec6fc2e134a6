"""A PostgreSQL server with a standby that receives its log by streaming replication."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import psycopg

from taskflow.tests.chaos.postgresql import LOGIN, PostgreSQL

STREAMING = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
WAIT_SECONDS = 60.0


class ReplicatedPostgreSQL(PostgreSQL):
    """The primary, with its standby in `directory`/s. A commit waits until the standby has it."""

    name = "PostgreSQL with a standby"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        for name in ("fsync", "synchronous_commit", "full_page_writes"):  # off in other tests
            self.execute(f"ALTER SYSTEM RESET {name}")
        self.standby = directory / "s"
        self.standby.mkdir(mode=0o700)
        if self.server.system_user:
            shutil.chown(self.standby, self.server.system_user)
        # -R writes how the standby reaches the primary.
        self._run("pg_basebackup", "-h", str(self.data), "-U", "postgres", "-D", str(self.standby),
                  "-c", "fast", "-R")  # fmt: skip
        for lock in self.standby.glob(".s.PGSQL.*"):  # of the socket of the primary, copied with it
            lock.unlink()
        self._run("pg_ctl", "-w", "-D", str(self.standby), "-l", str(self.standby / "log"),
                  "-o", f'-h "" -k {self.standby}', "start")  # fmt: skip
        self.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.execute("SELECT pg_reload_conf()")
        deadline = time.monotonic() + WAIT_SECONDS
        while self.execute(STREAMING) != [(1,)]:
            assert time.monotonic() < deadline, "The standby does not receive the log."
            time.sleep(0.1)

    @property
    def url(self) -> str:
        """A URL that names both servers, with which a client connects to the primary."""
        hosts = f"{self.data},{self.standby}"
        return f"postgres://taskflow_{LOGIN}@/{LOGIN}?host={hosts}&target_session_attrs=read-write"

    def promote(self) -> tuple[float, float]:
        """Let the standby become the primary. Return the times of the command and of its effect."""
        self.superuser = f"postgresql://postgres@/{LOGIN}?host={self.standby}"
        begun = time.monotonic()
        with psycopg.connect(self.superuser, autocommit=True) as connection:
            connection.execute("SELECT pg_promote(wait => false)")
            while self._is_standby(connection):
                time.sleep(0.005)
        return begun, time.monotonic()

    def close(self) -> None:
        self._run("pg_ctl", "-m", "immediate", "-D", str(self.standby), "stop")
        super().close()

    @staticmethod
    def _is_standby(connection: psycopg.Connection) -> bool:
        row = connection.execute("SELECT pg_is_in_recovery()").fetchone()
        return bool(row and row[0])

    def _run(self, program: str, *arguments: str) -> None:
        """Run a program of PostgreSQL as the user of the server."""
        owner = {"user": self.server.system_user} if self.server.system_user else {}
        command = [str(self.server.bin_path / program), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", **owner)
