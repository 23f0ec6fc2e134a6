"""
Sends compiled statements to PostgreSQL with few messages and little work in Python.

* A statement is prepared once per connection and run by libpq directly. psycopg would parse the SQL
  and choose types again at every call, which costs more than everything else. psycopg itself must
  not prepare statements on these connections (as configured by Django, it does not): after a
  rollback it would make the server deallocate all prepared statements.
* A deferred statement, such as an UPDATE whose result is not needed, is sent in one message with
  the next statement. So are BEGIN and the settings of the transaction, and COMMIT with the last
  query.
* The order of statements is kept: FlushingCursor sends deferred statements before its own.

Execute wrappers and the debug log see these statements when they are executed or deferred, not when
they are sent.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn
from weakref import WeakKeyDictionary

import psycopg
from django.conf import settings
from psycopg.adapt import AdaptersMap, Transformer
from psycopg.errors import (
    DuplicatePreparedStatement,
    FeatureNotSupported,
    InvalidSqlStatementName,
    error_from_result,
)
from psycopg.generators import execute
from psycopg.pq import ConnStatus, Escaping, ExecStatus, TransactionStatus
from psycopg.types.datetime import TimestamptzLoader

from taskflow.db.postgresql.statement import PostgresStatement

if TYPE_CHECKING:
    from taskflow.db.statements import Statement

MAX_PREPARED = 100  # statements per connection; each holds a plan
PREPARE_AFTER = 2  # executions
COMMIT, ROLLBACK = b"COMMIT", b"ROLLBACK"
IDLE = TransactionStatus.IDLE
ROWS, DONE = ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK
# The server has other prepared statements than PreparedNames says: another client of the connection
# has prepared one, or deallocated some, for example by DISCARD ALL.
OUT_OF_SYNC_ERRORS = (DuplicatePreparedStatement, InvalidSqlStatementName)
# PostgreSQL's function that refuses a prepared statement after a column has changed its type.
CHECK_OF_RESULT_TYPE = "RevalidateCachedQuery"


class PreparedNames:
    """The names of the statements that a connection has prepared."""

    def __init__(self) -> None:
        self.names: set[bytes] = set()
        self.is_out_of_sync = False  # whether the server may have other names than these


# By connection, since a pool gives one connection to many threads in turn.
_prepared: WeakKeyDictionary[psycopg.Connection[Any], PreparedNames] = WeakKeyDictionary()


class PostgresSession:
    """The only class that uses libpq. Each of Django's connections, so each thread, has its own.

    In a transaction, `begin_sql` is the SQL that begins it: BEGIN and the settings. It is sent with
    the first statement, and again when statements follow an early COMMIT. Outside of a transaction
    it is None.
    """

    def __init__(self, wrapper: Any) -> None:
        self.wrapper = wrapper
        self.begin_sql: bytes | None = None
        self.pending: list[bytes] = []  # deferred statements
        self.may_commit_early = False

    # ---- the connection ----

    def use_connection(self, connection: psycopg.Connection[Any]) -> None:
        """Use a new connection. Deferred statements of the previous one are dropped."""
        self.connection, self.pgconn = connection, connection.pgconn
        self.adapters = AdaptersMap(connection.adapters)
        # Django's loader is written in Python; both return times of UTC.
        self.adapters.register_loader("timestamptz", TimestamptzLoader)
        self.transformer = Transformer.from_context(self)
        self.prepared = _prepared.setdefault(connection, PreparedNames())
        self.pending.clear()
        if self.begin_sql is not None:
            self.begin_sql = b"BEGIN"

    def has_unread_data(self) -> bool:
        """Return whether the server has sent something unread, such as the end of the connection.

        Also true for a closed connection. Does not wait.
        """
        if self.connection.closed:
            return True
        listener = select.poll()
        listener.register(self.connection.fileno(), select.POLLIN)
        return bool(listener.poll(0))

    # ---- statements ----

    def execute(
        self, statement: Statement, values: Sequence[Any], *, commit_with: bool = False
    ) -> list[Any]:
        wrapper = self.wrapper
        if wrapper.connection is None:
            wrapper.ensure_connection()
        if wrapper.needs_rollback:
            wrapper.validate_no_broken_transaction()
        if wrapper.execute_wrappers or wrapper.queries_logged:
            work = partial(self._execute, statement, values, commit_with)
            return self._run_through_wrappers(statement, values, work)  # type: ignore[no-any-return]
        try:
            return self._execute(statement, values, commit_with)
        except psycopg.Error as error:
            self._raise(error)

    def defer(self, statement: Statement, values: Sequence[Any]) -> None:
        wrapper = self.wrapper
        if wrapper.connection is None:
            wrapper.ensure_connection()
        if wrapper.needs_rollback:
            wrapper.validate_no_broken_transaction()
        if wrapper.execute_wrappers or wrapper.queries_logged:
            self._run_through_wrappers(statement, values, partial(self._defer, statement, values))
            return
        try:
            self._defer(statement, values)
        except psycopg.Error as error:
            self._raise(error)

    def flush(self) -> None:
        """Send the deferred statements, if any. Raises psycopg's errors."""
        if self.pending or self._must_begin():
            self._send([])

    def discard_pending(self) -> None:
        """Drop the deferred statements. Call it when they would be rolled back anyway."""
        self.pending.clear()

    def reserve_write_access(
        self, *, read_only: bool, max_wait: float | None
    ) -> AbstractContextManager[None]:
        return nullcontext()

    # ---- transactions ----

    def begin(self) -> None:
        self.begin_sql, self.may_commit_early = b"BEGIN", False
        self.pending.clear()

    def set_transaction_settings(self, sql: bytes) -> None:
        has_begun = not self._must_begin()
        if not self.wrapper.savepoint_ids:
            self.begin_sql = b"%s; %s" % (self.begin_sql, sql)
        if has_begun:
            self.pending.append(sql)

    def allow_early_commit(self) -> None:
        self.may_commit_early = self.begin_sql is not None and not self.wrapper.savepoint_ids

    def commit(self) -> None:
        """Raises InternalError when the transaction has been rolled back instead. PostgreSQL does
        this without an error when a statement has failed before.
        """
        if self.pending or self.pgconn.transaction_status != IDLE:
            result = self._send([COMMIT])
            if result.command_status == ROLLBACK:
                raise psycopg.InternalError(
                    "The transaction was rolled back by a failed statement."
                )
        self._reset_transaction()

    def rollback(self) -> None:
        self._reset_transaction()
        if self.pgconn.transaction_status != IDLE:
            self._send([ROLLBACK])

    def _reset_transaction(self) -> None:
        self.begin_sql, self.may_commit_early = None, False
        self.pending.clear()

    def _must_begin(self) -> bool:
        """Return whether BEGIN has to be sent with the next statement."""
        return self.begin_sql is not None and self.pgconn.transaction_status == IDLE

    # ---- sending ----

    def _execute(self, statement: Statement, values: Sequence[Any], commit_with: bool) -> list[Any]:
        rendered = statement.for_postgresql or self._render(statement)
        buffers: Any = rendered.dump(values)
        commits = commit_with and self.may_commit_early and not self.wrapper.savepoint_ids
        if self.pending or commits or self._must_begin():
            if rendered.name in self.prepared.names:
                text = self._execute_text(rendered, buffers)
                return self._read_rows(self._send([text, COMMIT] if commits else [text]))
            self.flush()
        if self._is_prepared(rendered):
            result = self.pgconn.exec_prepared(rendered.name, buffers, rendered.formats)
        else:
            result = self.pgconn.exec_params(
                rendered.text, buffers, rendered.oids, rendered.formats
            )
        return self._read_rows(result)

    def _defer(self, statement: Statement, values: Sequence[Any]) -> None:
        rendered = statement.for_postgresql or self._render(statement)
        if self.begin_sql is None or rendered.name not in self.prepared.names:
            self._execute(statement, values, commit_with=False)
        else:
            self.pending.append(self._execute_text(rendered, rendered.dump(values)))

    def _send(self, statements: list[bytes]) -> Any:
        """Send the deferred statements and these in one message.

        Return the result of the last statement that is not COMMIT. Raises the psycopg error of a
        statement that fails.
        """
        begin_sql = [self.begin_sql] if self._must_begin() else []
        message = b"; ".join([*begin_sql, *self.pending, *statements])  # type: ignore[list-item]
        self.pending.clear()
        if len(statements) < 2:
            result = self.pgconn.exec_(message)
        else:
            self.pgconn.send_query(message)
            results = self.connection.wait(execute(self.pgconn))
            result = results[-1] if len(results) < 2 else results[-2]
            if results[-1].status not in (ROWS, DONE):
                result = results[-1]
        if result.status not in (ROWS, DONE):
            raise self._error_of(result)
        return result

    def _read_rows(self, result: Any) -> list[Any]:
        if result.status != ROWS:
            if result.status == DONE:
                return []
            raise self._error_of(result)
        self.transformer.set_pgresult(result)
        rows: list[Any] = self.transformer.load_rows(0, result.ntuples, tuple)
        return rows

    def _execute_text(self, rendered: PostgresStatement, buffers: Sequence[bytes | None]) -> bytes:
        if not buffers:
            return b"EXECUTE " + rendered.name
        escape = Escaping(self.pgconn).escape_literal
        arguments = [b"NULL" if value is None else escape(value) for value in buffers]
        return b"EXECUTE %s(%s)" % (rendered.name, b", ".join(arguments))

    # ---- preparing ----

    def _render(self, statement: Statement) -> PostgresStatement:
        """Return the statement as PostgreSQL reads it. It is stored for later calls.

        Threads share statements. Two threads that store it at the same time store equal objects.
        """
        statement.for_postgresql = PostgresStatement(statement, self.connection)
        return statement.for_postgresql

    def _is_prepared(self, rendered: PostgresStatement) -> bool:
        """Return whether the statement is prepared. It is prepared here at its second execution."""
        prepared = self.prepared
        if prepared.is_out_of_sync:
            self._deallocate_all()
        if rendered.name in prepared.names:
            return True
        rendered.uses += 1
        is_due = settings.PREPARED_STATEMENTS and rendered.uses >= PREPARE_AFTER
        if not is_due or len(prepared.names) >= MAX_PREPARED:
            return False
        result = self.pgconn.prepare(rendered.name, rendered.text, rendered.oids)
        if result.status != DONE:
            raise self._error_of(result)
        prepared.names.add(rendered.name)
        return True

    def _deallocate_all(self) -> None:
        """Deallocate all prepared statements, here and on the server."""
        result = self.pgconn.exec_(b"DEALLOCATE ALL")
        if result.status != DONE:
            raise self._error_of(result)
        self.prepared.names.clear()
        self.prepared.is_out_of_sync = False

    # ---- errors and listeners ----

    def _error_of(self, result: Any) -> Exception:
        """Return the psycopg error of a result that reports a failure."""
        if self.pgconn.status == ConnStatus.BAD:  # psycopg has no class for it
            return psycopg.OperationalError(result.error_message or "The connection is lost.")
        error = error_from_result(result, encoding=self.connection.info.encoding)
        if _is_of_other_types(error):  # retried as any other statement that must be prepared again
            error = InvalidSqlStatementName(str(error))
        if isinstance(error, OUT_OF_SYNC_ERRORS):
            # This error has ended the transaction. When it is run again, all names are deallocated.
            self.prepared.names.clear()
            self.prepared.is_out_of_sync = True
        return error

    def _raise(self, error: psycopg.Error) -> NoReturn:
        """Raise the Django error that corresponds to a psycopg error."""
        with self.wrapper.wrap_database_errors:
            raise error

    def _run_through_wrappers(
        self, statement: Statement, values: Sequence[Any], work: Callable[[], Any]
    ) -> Any:
        """Run `work` through the execute wrappers and the debug log, as Django's cursors do."""

        def run(sql: str, params: Any, many: bool, context: Any) -> Any:
            with self.wrapper.wrap_database_errors:
                return work()

        wrapper, sql, params = (
            self.wrapper,
            statement.sql,
            statement.place_values(values, self.wrapper),
        )
        for listener in reversed(wrapper.execute_wrappers):
            run = partial(listener, run)
        if wrapper.queries_logged:
            wrapper.queries_log.append({"sql": sql % tuple(map(repr, params)), "time": ""})
        return run(sql, params, False, {"connection": wrapper, "cursor": None})


def _is_of_other_types(error: psycopg.Error) -> bool:
    """Whether a column of a prepared statement has changed its type since it was prepared."""
    function = error.diag.source_function if isinstance(error, FeatureNotSupported) else None
    return function == CHECK_OF_RESULT_TYPE
