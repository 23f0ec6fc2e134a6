"""Ends statements of SQLite that run for too long, as statement_timeout does on PostgreSQL."""

from __future__ import annotations

from sqlite3 import dbapi2 as Database
from time import perf_counter

STATEMENT_SECONDS = 5.0  # as long as statement_timeout of PostgreSQL
# Instructions of SQLite's virtual machine between two checks. They take some milliseconds, and a
# check waits for Python's global lock. Most statements are done before the first check.
STEPS = 200_000

_limit_seconds: float | None = None


class StatementDeadline:
    """When the statement of a connection has begun. SQLite calls it while a statement runs."""

    __slots__ = ("limit", "started")

    def __init__(self) -> None:
        self.started = perf_counter()
        self.limit = STATEMENT_SECONDS

    def __call__(self) -> bool:
        """Return whether SQLite is to end the statement. It then raises `interrupted`."""
        return perf_counter() - self.started > self.limit

    def watch(self, connection: Database.Connection) -> None:
        """End each statement of the connection after limit_statements(), if that was called."""
        if _limit_seconds is not None:
            self.limit = _limit_seconds
            connection.set_progress_handler(self, STEPS)


def limit_statements(seconds: float | None) -> None:
    """End each statement after this time, on connections that this process opens from now on.

    Only a server calls it. Commands, such as migrate, may run statements of any length.
    """
    global _limit_seconds
    _limit_seconds = seconds
