"""Sends compiled statements to SQLite."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from sqlite3 import dbapi2 as Database
from typing import TYPE_CHECKING

from django.db import OperationalError, transaction

from taskflow.db.sqlite.deleted_content import overwrite_deleted_content
from taskflow.db.sqlite.files import require_database
from taskflow.db.sqlite.numbers import convert_overflow_errors
from taskflow.db.types import Row
from taskflow.metrics.timing import timings

if TYPE_CHECKING:
    from taskflow.db.sqlite.base import DatabaseWrapper
    from taskflow.db.statements import Statement

# SQLite has one writer at a time. Threads get this lock in turn. With SQLite's own busy timeout,
# some of them would wait much longer than others.
_write_lock = threading.RLock()
# seconds in which other writers should end, when the request has waited long for its thread
MIN_WAIT = 1.0
TIMEOUT_TOLERANCE = 0.05  # seconds; for a smaller difference SQLite's timeout is not changed


class SqliteSession:
    """Runs every statement at once: there is no message to the server that could be saved."""

    def __init__(self, wrapper: DatabaseWrapper) -> None:
        self.wrapper = wrapper

    def execute(
        self, statement: Statement, values: Sequence[object], *, commit_with: bool = False
    ) -> list[Row]:
        """Run the statement without Django's cursor, which rewrites the SQL at every call.

        Django's cursor is used if execute wrappers or the debug log have to see the statement.
        """
        wrapper = self.wrapper
        params = statement.place_values(values, wrapper)
        if wrapper.connection is None or wrapper.execute_wrappers or wrapper.queries_logged:
            return statement.run_with_cursor(params)
        wrapper.validate_no_broken_transaction()
        with wrapper.wrap_database_errors, convert_overflow_errors():
            started = wrapper.deadline.begin_statement()
            try:
                rows: list[Row] = wrapper.connection.execute(
                    statement.sqlite_sql, params
                ).fetchall()
            except Database.OperationalError as error:
                raise wrapper.deadline.explain(error) from None
            finally:
                timings.add_statement(started)
            return rows

    def defer(self, statement: Statement, values: Sequence[object]) -> None:
        self.execute(statement, values)

    def set_transaction_settings(self, values: Mapping[str, str]) -> None:
        """Do nothing: SQLite has no settings of a transaction."""

    def read_snapshots(self, *, has_deadlines: bool = False) -> AbstractContextManager[None]:
        return nullcontext()  # every transaction of SQLite reads one snapshot

    def allow_early_commit(self) -> None:
        """Do nothing: a COMMIT is no round trip here."""

    def overwrite_deleted_content(self) -> None:
        overwrite_deleted_content(str(self.wrapper.settings_dict["NAME"]))

    def prepare_server(self) -> None:
        require_database()

    @contextmanager
    def open_transaction(self, *, read_only: bool, max_wait: float | None) -> Iterator[None]:
        access = self.reserve_write_access(read_only=read_only, max_wait=max_wait)
        with access, transaction.atomic():
            yield

    def reserve_write_access(
        self, *, read_only: bool, max_wait: float | None
    ) -> AbstractContextManager[None]:
        if self.wrapper.in_atomic_block:
            return nullcontext()
        self.wrapper.ensure_connection()  # this sets transaction_mode
        return self._begin_deferred() if read_only else self._wait_for_writers(max_wait)

    @contextmanager
    def _begin_deferred(self) -> Iterator[None]:
        mode = self.wrapper.transaction_mode
        self.wrapper.transaction_mode = "DEFERRED"
        try:
            yield
        finally:
            self.wrapper.transaction_mode = mode

    @contextmanager
    def _wait_for_writers(self, max_wait: float | None) -> Iterator[None]:
        """Wait for writers in other threads of this process, then at BEGIN for other processes.

        Both waits together last at most `max_wait` seconds. By default these are the seconds of the
        settings without those that the request waited for its thread, but MIN_WAIT at least.
        Raises OperationalError after that time, as SQLite does.
        """
        default_wait = float(self.wrapper.settings_dict["OPTIONS"]["timeout"])
        if max_wait is None:
            max_wait = max(default_wait - timings.queued, min(default_wait, MIN_WAIT))
        started = time.monotonic()
        deadline = started + max_wait
        is_acquired = _write_lock.acquire(timeout=max_wait)
        timings.lock_wait += time.monotonic() - started
        if not is_acquired:
            raise OperationalError(f"database is locked: other writers took {max_wait:g} seconds")
        try:
            remaining = max(0.0, deadline - time.monotonic())
            is_shorter = remaining < default_wait - TIMEOUT_TOLERANCE
            if is_shorter:
                self._set_timeout(remaining)
            try:
                yield
            finally:
                if is_shorter:
                    self._set_timeout(default_wait)
        finally:
            _write_lock.release()

    def _set_timeout(self, seconds: float) -> None:
        if self.wrapper.connection is not None:
            milliseconds = round(seconds * 1000)
            self.wrapper.connection.execute(f"PRAGMA busy_timeout = {milliseconds}")
