"""How statements that are compiled once reach SQLite."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from django.db import OperationalError

from taskflow.db.sqlite.numbers import convert_overflow_errors

if TYPE_CHECKING:
    from taskflow.db.statements import Statement

# SQLite has one writer; waiting here is fair, its busy timeout is not.
_writer = threading.RLock()
SHORT_WAIT = 0.05  # seconds: for less, SQLite's own time-out is left as it is


class SqliteSession:
    """Nothing is deferred here: each statement is a call, not a message."""

    def __init__(self, wrapper: Any) -> None:
        self.wrapper = wrapper

    def execute(
        self, statement: Statement, values: Sequence[Any], *, commit_with: bool = False
    ) -> list[Any]:
        """Run it without Django's cursor, which rewrites the text at every call.

        Where execute wrappers or the debug log see Django's statements, its cursor is used.
        """
        wrapper = self.wrapper
        params = statement.spread(values, wrapper)
        if wrapper.connection is None or wrapper.execute_wrappers or wrapper.queries_logged:
            return statement.run_with_cursor(params)
        wrapper.validate_no_broken_transaction()
        with wrapper.wrap_database_errors, convert_overflow_errors():
            rows: list[Any] = wrapper.connection.execute(statement.text, params).fetchall()
            return rows

    def defer(self, statement: Statement, values: Sequence[Any]) -> None:
        self.execute(statement, values)

    def bind(self, sql: bytes) -> None:
        """SQLite has no settings of a transaction."""

    def allow_early_commit(self) -> None:
        """A COMMIT is no round trip here."""

    def reserve_write_access(
        self, *, read_only: bool, max_wait: float | None
    ) -> AbstractContextManager[None]:
        """Readers wait for nobody, writers for each other."""
        if self.wrapper.in_atomic_block:
            return nullcontext()
        self.wrapper.ensure_connection()  # which is when it learns its usual mode
        return self._deferred() if read_only else self._turn_of_writer(max_wait)

    @contextmanager
    def _deferred(self) -> Iterator[None]:
        mode = self.wrapper.transaction_mode
        self.wrapper.transaction_mode = "DEFERRED"
        try:
            yield
        finally:
            self.wrapper.transaction_mode = mode

    @contextmanager
    def _turn_of_writer(self, max_wait: float | None) -> Iterator[None]:
        """Wait for the other threads of this process, then at BEGIN for other processes: together
        for at most `max_wait` seconds, by default those of the settings.

        Raises OperationalError, as SQLite does for the second.
        """
        usual = float(self.wrapper.settings_dict["OPTIONS"]["timeout"])
        max_wait = usual if max_wait is None else max_wait
        deadline = time.monotonic() + max_wait
        if not _writer.acquire(timeout=max_wait):
            raise OperationalError(f"database is locked: other writers took {max_wait:g} seconds")
        try:
            remaining = max(0.0, deadline - time.monotonic())
            is_shorter = remaining < usual - SHORT_WAIT
            if is_shorter:
                self._set_timeout(remaining)
            try:
                yield
            finally:
                if is_shorter:
                    self._set_timeout(usual)
        finally:
            _writer.release()

    def _set_timeout(self, seconds: float) -> None:
        if self.wrapper.connection is not None:
            milliseconds = round(seconds * 1000)
            self.wrapper.connection.execute(f"PRAGMA busy_timeout = {milliseconds}")
