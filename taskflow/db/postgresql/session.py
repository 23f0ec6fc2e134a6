"""
How statements that are compiled once reach PostgreSQL, in few messages.

* A statement is prepared once per connection and run by libpq directly. psycopg would look for
  `%s` and choose types again at every call, which costs more than all the rest. psycopg itself must
  prepare nothing on these connections (it does not, as Django sets it up): after a rollback it
  would make the server forget all prepared statements.
* A deferred statement, such as an UPDATE whose result is not needed, is sent in one message with
  the next one. So are BEGIN and the settings of the transaction, and COMMIT with the last query.
* The order stays: FlushingCursor sends what is deferred before any other statement.

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

from taskflow.db.postgresql.texts import ServerText

if TYPE_CHECKING:
    from taskflow.db.statements import Statement

MOST_PREPARED = 100  # statements per connection; each holds a plan
PREPARE_AFTER = 2  # executions
COMMIT, ROLLBACK = b"COMMIT", b"ROLLBACK"
IDLE = TransactionStatus.IDLE
ROWS, DONE = ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK
# The server knows other prepared statements of a connection than we do: another client has prepared
# one, or made the server forget some, as DISCARD ALL does.
NOT_AS_PREPARED = (DuplicatePreparedStatement, InvalidSqlStatementName)
# PostgreSQL's function that refuses a prepared statement after a column has changed its type.
CHECK_OF_RESULT_TYPE = "RevalidateCachedQuery"


class PreparedNames:
    """The names of the statements that a connection has prepared."""

    def __init__(self) -> None:
        self.names: set[bytes] = set()
        self.is_unsure = False  # the server knows other names than these


# By connection, since a pool hands one connection to many threads in turn.
_prepared: WeakKeyDictionary[psycopg.Connection[Any], PreparedNames] = WeakKeyDictionary()


class PostgresSession:
    """The only place that knows libpq. There is one for each of Django's connections, so one for
    each thread.

    In a transaction, `opening` is the text that begins it: BEGIN and its settings. It is sent with
    the first statement, and again when statements follow an early COMMIT.
    """

    def __init__(self, wrapper: Any) -> None:
        self.wrapper = wrapper
        self.opening: bytes | None = None
        self.pending: list[bytes] = []  # deferred statements
        self.may_commit_early = False

    # ---- the connection ----

    def attach(self, connection: psycopg.Connection[Any]) -> None:
        """Use a new connection. Whatever was pending on the last one is gone with it."""
        self.connection, self.pgconn = connection, connection.pgconn
        self.adapters = AdaptersMap(connection.adapters)
        # Django's loader is written in Python; both return times of UTC.
        self.adapters.register_loader("timestamptz", TimestamptzLoader)
        self.transformer = Transformer.from_context(self)
        self.prepared = _prepared.setdefault(connection, PreparedNames())
        self.pending.clear()
        if self.opening is not None:
            self.opening = b"BEGIN"

    def is_quiet(self) -> bool:
        """Whether the server has sent nothing that is unread, such as the end of the connection."""
        if self.connection.closed:
            return False
        listener = select.poll()
        listener.register(self.connection.fileno(), select.POLLIN)
        return not listener.poll(0)

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
        """Send what is deferred. Raises psycopg's errors."""
        if self.pending or self._is_unopened():
            self._send([])

    def discard(self) -> None:
        """Forget what is deferred, because it would be rolled back."""
        self.pending.clear()

    def wait_for_turn(
        self, *, reading: bool, patience: float | None
    ) -> AbstractContextManager[None]:
        return nullcontext()

    # ---- transactions ----

    def begin(self) -> None:
        self.opening, self.may_commit_early = b"BEGIN", False
        self.pending.clear()

    def bind(self, sql: bytes) -> None:
        is_opened = not self._is_unopened()
        if not self.wrapper.savepoint_ids:
            self.opening = b"%s; %s" % (self.opening, sql)
        if is_opened:
            self.pending.append(sql)

    def allow_early_commit(self) -> None:
        self.may_commit_early = self.opening is not None and not self.wrapper.savepoint_ids

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
        self._end()

    def rollback(self) -> None:
        self._end()
        if self.pgconn.transaction_status != IDLE:
            self._send([ROLLBACK])

    def _end(self) -> None:
        self.opening, self.may_commit_early = None, False
        self.pending.clear()

    def _is_unopened(self) -> bool:
        """Whether BEGIN has to be sent with the next statement."""
        return self.opening is not None and self.pgconn.transaction_status == IDLE

    # ---- sending ----

    def _execute(self, statement: Statement, values: Sequence[Any], commit_with: bool) -> list[Any]:
        server = statement.server or self._write(statement)
        buffers: Any = server.dump(values)
        commits = commit_with and self.may_commit_early and not self.wrapper.savepoint_ids
        if self.pending or commits or self._is_unopened():
            if server.name in self.prepared.names:
                text = self._execute_text(server, buffers)
                return self._read(self._send([text, COMMIT] if commits else [text]))
            self.flush()
        if self._is_prepared(server):
            result = self.pgconn.exec_prepared(server.name, buffers, server.formats)
        else:
            result = self.pgconn.exec_params(server.text, buffers, server.oids, server.formats)
        return self._read(result)

    def _defer(self, statement: Statement, values: Sequence[Any]) -> None:
        server = statement.server or self._write(statement)
        if self.opening is None or server.name not in self.prepared.names:
            self._execute(statement, values, commit_with=False)
        else:
            self.pending.append(self._execute_text(server, server.dump(values)))

    def _send(self, statements: list[bytes]) -> Any:
        """Send what is deferred and these in one message. Return the result of the last that is not
        COMMIT. Raises what the database refused.
        """
        opening = [self.opening] if self._is_unopened() else []
        message = b"; ".join([*opening, *self.pending, *statements])  # type: ignore[list-item]
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

    def _read(self, result: Any) -> list[Any]:
        if result.status != ROWS:
            if result.status == DONE:
                return []
            raise self._error_of(result)
        self.transformer.set_pgresult(result)
        rows: list[Any] = self.transformer.load_rows(0, result.ntuples, tuple)
        return rows

    def _execute_text(self, server: ServerText, buffers: Sequence[bytes | None]) -> bytes:
        if not buffers:
            return b"EXECUTE " + server.name
        escape = Escaping(self.pgconn).escape_literal
        arguments = [b"NULL" if value is None else escape(value) for value in buffers]
        return b"EXECUTE %s(%s)" % (server.name, b", ".join(arguments))

    # ---- preparing ----

    def _write(self, statement: Statement) -> ServerText:
        """Threads share statements. Two that do this at the same time assign equal objects."""
        statement.server = ServerText(statement, self.connection)
        return statement.server

    def _is_prepared(self, server: ServerText) -> bool:
        """Whether the connection knows the statement. It is prepared at its second execution."""
        prepared = self.prepared
        if prepared.is_unsure:
            self._forget_prepared()
        if server.name in prepared.names:
            return True
        server.uses += 1
        is_due = settings.PREPARED_STATEMENTS and server.uses >= PREPARE_AFTER
        if not is_due or len(prepared.names) >= MOST_PREPARED:
            return False
        result = self.pgconn.prepare(server.name, server.text, server.oids)
        if result.status != DONE:
            raise self._error_of(result)
        prepared.names.add(server.name)
        return True

    def _forget_prepared(self) -> None:
        """Begin anew with what is prepared, here and on the server."""
        result = self.pgconn.exec_(b"DEALLOCATE ALL")
        if result.status != DONE:
            raise self._error_of(result)
        self.prepared.names.clear()
        self.prepared.is_unsure = False

    # ---- errors and listeners ----

    def _error_of(self, result: Any) -> Exception:
        """Return the psycopg error of a result that is a refusal."""
        if self.pgconn.status == ConnStatus.BAD:  # psycopg has no class for it
            return psycopg.OperationalError(result.error_message or "The connection is lost.")
        error = error_from_result(result, encoding=self.connection.info.encoding)
        if _is_of_other_types(error):  # retried as any other statement that must be prepared again
            error = InvalidSqlStatementName(str(error))
        if isinstance(error, NOT_AS_PREPARED):
            # No name is relied on until the transaction, which this error has ended, is run again.
            self.prepared.names.clear()
            self.prepared.is_unsure = True
        return error

    def _raise(self, error: psycopg.Error) -> NoReturn:
        """Raise Django's error for psycopg's."""
        with self.wrapper.wrap_database_errors:
            raise error

    def _run_through_wrappers(
        self, statement: Statement, values: Sequence[Any], work: Callable[[], Any]
    ) -> Any:
        """Do the work as if it were a statement of Django's cursors."""

        def run(sql: str, params: Any, many: bool, context: Any) -> Any:
            with self.wrapper.wrap_database_errors:
                return work()

        wrapper, sql, params = self.wrapper, statement.sql, statement.spread(values, self.wrapper)
        for listener in reversed(wrapper.execute_wrappers):
            run = partial(listener, run)
        if wrapper.queries_logged:
            wrapper.queries_log.append({"sql": sql % tuple(map(repr, params)), "time": ""})
        return run(sql, params, False, {"connection": wrapper, "cursor": None})


def _is_of_other_types(error: psycopg.Error) -> bool:
    """Whether a column of a prepared statement has changed its type since it was prepared."""
    function = error.diag.source_function if isinstance(error, FeatureNotSupported) else None
    return function == CHECK_OF_RESULT_TYPE
