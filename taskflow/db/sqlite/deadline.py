"""Ends statements of SQLite that run for too long, as statement_timeout does on PostgreSQL, and
transactions that keep all others from writing for too long.
"""

from __future__ import annotations

from math import inf
from sqlite3 import dbapi2 as Database
from time import perf_counter

from taskflow.db.causes import WRITER_HELD

LIMIT_SECONDS = 5.0  # of a statement, as statement_timeout of PostgreSQL
# Of that limit, for a transaction that holds the one writer. Others wait for the whole limit, so
# that they get it afterwards.
WRITER_SHARE = 0.9
# Instructions of SQLite's virtual machine between two checks. They take some milliseconds, and a
# check waits for Python's global lock. Most statements are done before the first check.
STEPS = 200_000

_limit_seconds: float | None = None


class WriterHeld(Database.OperationalError):
    """The transaction has held the writer for too long. It has to be rolled back."""


class Deadline:
    """When the statement of a connection, and its write transaction, have to be done.

    SQLite calls it while a statement runs.
    """

    __slots__ = ("limit", "started", "write_ends")

    def __init__(self) -> None:
        self.limit = inf  # seconds
        self.started = perf_counter()  # the statement
        self.write_ends = inf  # by the same clock

    def __call__(self) -> bool:
        """Return whether SQLite is to end the statement. It then raises `interrupted`."""
        now = perf_counter()
        return now - self.started > self.limit or now > self.write_ends

    def watch(self, connection: Database.Connection) -> None:
        """Watch a new connection, if limit_time() was called."""
        self.limit = inf if _limit_seconds is None else _limit_seconds
        self.write_ends = inf
        if _limit_seconds is not None:
            connection.set_progress_handler(self, STEPS)

    def begin_statement(self) -> float:
        """Return the time. Raises WriterHeld if its transaction has held the writer too long."""
        self.started = now = perf_counter()
        if now > self.write_ends:
            raise self._describe()
        return now

    def begin_write(self) -> None:
        """To be called when a transaction has got the writer."""
        self.write_ends = perf_counter() + self.limit * WRITER_SHARE

    def end_write(self) -> None:
        """To be called when a transaction is to be committed or rolled back."""
        self.write_ends = inf

    def explain(self, error: Database.OperationalError) -> Database.OperationalError:
        """Return the error, or WriterHeld if the statement was ended for it."""
        is_held = str(error) == "interrupted" and perf_counter() > self.write_ends
        return self._describe() if is_held else error

    def _describe(self) -> WriterHeld:
        seconds = self.limit * WRITER_SHARE
        return WriterHeld(f"{WRITER_HELD} for {seconds:g} seconds")


def limit_time(seconds: float | None) -> None:
    """Limit statements and write transactions on connections that are opened from now on.

    Only a server calls it. Commands, such as migrate, may take any time.
    """
    global _limit_seconds
    _limit_seconds = seconds
