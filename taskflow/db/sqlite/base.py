"""Django's SQLite backend with six differences: only its owner can read a database file, a number
of more than 64 bits raises DataError as on PostgreSQL, compiled statements use a SqliteSession, a
server ends a statement or a write that takes too long, a migration that copies a table keeps its
triggers, and a file that was deleted or replaced is noticed.
"""

from __future__ import annotations

import time
from sqlite3 import dbapi2 as Database
from typing import Any

from django.db.backends.sqlite3.base import DatabaseWrapper as DjangoWrapper
from django.db.backends.sqlite3.base import SQLiteCursorWrapper

from taskflow.db.open_connections import track
from taskflow.db.sqlite.deadline import Deadline
from taskflow.db.sqlite.files import identify_file, protect_database
from taskflow.db.sqlite.numbers import convert_overflow_errors
from taskflow.db.sqlite.schema import SchemaEditor
from taskflow.db.sqlite.session import SqliteSession
from taskflow.metrics.timing import timings

BEGIN_WRITING = "BEGIN IMMEDIATE"  # waits for the writers of other processes


class Cursor(SQLiteCursorWrapper):
    """A cursor that raises DataError for a number of more than 64 bits, as PostgreSQL does."""

    deadline: Deadline

    def execute(self, query: str, params: Any = None) -> Any:
        started = self.deadline.begin_statement()
        begins_write = query == BEGIN_WRITING
        try:
            with convert_overflow_errors():
                result = super().execute(query, params)
            if begins_write:
                self.deadline.begin_write()
            return result
        except Database.OperationalError as error:
            raise self.deadline.explain(error) from None
        finally:
            timings.add_statement(started, takes_lock=begins_write)

    def executemany(self, query: str, param_list: Any) -> Any:
        started = self.deadline.begin_statement()
        try:
            with convert_overflow_errors():
                return super().executemany(query, param_list)
        except Database.OperationalError as error:
            raise self.deadline.explain(error) from None
        finally:
            timings.add_statement(started)

    def fetchmany(self, size: int | None = 1) -> list[Any]:
        """Read more rows. The deadline begins anew, because the reader may be slow."""
        self.deadline.started = time.perf_counter()
        return super().fetchmany(size)


class DatabaseWrapper(DjangoWrapper):
    SchemaEditorClass = SchemaEditor
    transaction_mode: str | None  # missing in the stubs

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.session = SqliteSession(self)
        self.deadline = Deadline()
        self.file: tuple[int, int] | None = None  # that the connection has opened
        track(self)

    def get_new_connection(self, conn_params: dict[str, Any]) -> Database.Connection:
        name = str(conn_params["database"])
        if not self.is_in_memory_db():
            try:
                protect_database(name)
            except OSError as error:
                message = f"unable to open database file {name}: {error.strerror}"
                raise Database.OperationalError(message) from error
        connection: Database.Connection = super().get_new_connection(conn_params)
        self.deadline.watch(connection)
        self.file = None if self.is_in_memory_db() else identify_file(name)
        return connection

    def ensure_connection(self) -> None:
        """Connect if there is no connection, or if its file was deleted or replaced.

        SQLite would go on writing to the former file, and what it commits there would be lost.
        """
        if self.connection is not None and not self.in_atomic_block and self._has_file_changed():
            self.close()
        super().ensure_connection()

    def _has_file_changed(self) -> bool:
        return self.file is not None and self.file != identify_file(str(self.settings_dict["NAME"]))

    def commit(self) -> None:
        """Commit, which waits for the disk."""
        self.deadline.end_write()
        started = time.perf_counter()
        try:
            super().commit()
        finally:
            timings.add_message(started)

    def rollback(self) -> None:
        self.deadline.end_write()
        super().rollback()

    def create_cursor(self, name: str | None = None) -> Database.Cursor:
        cursor: Cursor = self.connection.cursor(factory=Cursor)
        cursor.deadline = self.deadline
        return cursor
