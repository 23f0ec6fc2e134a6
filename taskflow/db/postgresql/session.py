"""
Sends compiled statements to PostgreSQL with few messages and little work in Python.

* libpq runs a statement directly: see transports.py. psycopg would parse the SQL and choose types
  again at every call, which costs more than everything else. psycopg itself must not prepare
  statements on these connections (as configured by Django, it does not): after a rollback it would
  make the server deallocate all prepared statements.
* A deferred statement, such as an UPDATE whose result is not needed, is sent in one message with
  the next statement. So are BEGIN and the settings of the transaction, and COMMIT with the last
  query.
* The order of statements is kept: FlushingCursor sends deferred statements before its own.

Execute wrappers and the debug log see these statements when they are executed or deferred, not when
they are sent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import psycopg
from django.conf import settings
from django.db import transaction
from psycopg.adapt import AdaptersMap, Transformer
from psycopg.pq import TransactionStatus
from psycopg.pq.abc import PGresult
from psycopg.types.datetime import TimestamptzLoader

from taskflow.db.postgresql.deadlines import WatchedConnection, watch_answers
from taskflow.db.postgresql.statement import PostgresStatement
from taskflow.db.postgresql.transaction import OutermostTransaction
from taskflow.db.postgresql.transports import DONE, ROWS, Message, choose_transport
from taskflow.db.types import Row
from taskflow.metrics.timing import timings

if TYPE_CHECKING:
    from taskflow.db.postgresql.base import DatabaseWrapper
    from taskflow.db.statements import Statement

COMMIT, ROLLBACK = b"COMMIT", b"ROLLBACK"
IDLE = TransactionStatus.IDLE
# They have to precede the first query of a transaction.
READ_SNAPSHOT: tuple[Message, ...] = (b"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",)
# Between queries, what was read is written to a file, which a slow disk or a pipe may delay.
WITHOUT_DEADLINES: tuple[Message, ...] = (
    b"SET LOCAL statement_timeout = 0",
    b"SET LOCAL idle_in_transaction_session_timeout = '10min'",
)


class PostgresSession:
    """Runs compiled statements. Each of Django's connections, so each thread, has its own.

    In a transaction, `begin_messages` are what that begin it: BEGIN and the settings. They are sent
    with the first statement, and again when statements follow an early COMMIT. Outside of a
    transaction it is None.
    """

    def __init__(self, wrapper: DatabaseWrapper) -> None:
        self.wrapper = wrapper
        # With force_debug_cursor it is queries_logged, which would look up the setting each time.
        self.logs_queries = settings.DEBUG
        self.begin_messages: list[Message] | None = None
        self.pending: list[Message] = []  # deferred statements
        self.may_commit_early = False
        self.snapshot_messages: tuple[Message, ...] = ()

    # ---- the connection ----

    def use_connection(self, connection: WatchedConnection) -> None:
        """Use a new connection. Deferred statements of the previous one are dropped."""
        self.connection, self.pgconn = connection, connection.pgconn
        self.watch = connection.watch
        self.adapters = AdaptersMap(connection.adapters)
        # Django's loader is written in Python; both return times of UTC.
        self.adapters.register_loader("timestamptz", TimestamptzLoader)
        self.transformer = Transformer.from_context(self)
        self.transport = choose_transport(connection)
        self.pending.clear()
        if self.begin_messages is not None:
            self.begin_messages = self._first_messages()

    # ---- statements ----

    def execute(
        self, statement: Statement, values: Sequence[object], *, commit_with: bool = False
    ) -> list[Row]:
        wrapper = self.wrapper
        if wrapper.connection is None:
            wrapper.ensure_connection()
        if wrapper.needs_rollback:
            wrapper.validate_no_broken_transaction()
        if wrapper.execute_wrappers or wrapper.force_debug_cursor or self.logs_queries:
            work = partial(self._execute, statement, values, commit_with)
            rows: list[Row] = self._run_through_wrappers(statement, values, work)
            return rows
        try:
            return self._execute(statement, values, commit_with)
        except psycopg.Error as error:
            self._raise(error)

    def defer(self, statement: Statement, values: Sequence[object]) -> None:
        wrapper = self.wrapper
        if wrapper.connection is None:
            wrapper.ensure_connection()
        if wrapper.needs_rollback:
            wrapper.validate_no_broken_transaction()
        if wrapper.execute_wrappers or wrapper.force_debug_cursor or self.logs_queries:
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

    def overwrite_deleted_content(self) -> None:
        """Do nothing: autovacuum removes old versions of rows."""

    def prepare_server(self) -> None:
        watch_answers()

    # ---- transactions ----

    def open_transaction(
        self, *, read_only: bool, max_wait: float | None
    ) -> AbstractContextManager[None]:
        wrapper = self.wrapper
        is_shown = wrapper.force_debug_cursor or self.logs_queries  # the debug log has a BEGIN
        if wrapper.in_atomic_block or not wrapper.autocommit or is_shown:
            return transaction.atomic()
        return OutermostTransaction(wrapper)

    def begin(self) -> None:
        self.begin_messages, self.may_commit_early = self._first_messages(), False
        self.pending.clear()

    def set_transaction_settings(self, values: Mapping[str, str]) -> None:
        has_begun = not self._must_begin()
        messages = self.transport.settings_of(values)
        if self.begin_messages is not None and not self.wrapper.savepoint_ids:
            self.begin_messages += messages
        if has_begun:
            self.pending += messages

    @contextmanager
    def read_snapshots(self, *, has_deadlines: bool = False) -> Iterator[None]:
        self.snapshot_messages = READ_SNAPSHOT + (() if has_deadlines else WITHOUT_DEADLINES)
        try:
            yield
        finally:
            self.snapshot_messages = ()

    def _first_messages(self) -> list[Message]:
        return [*self.transport.begin, *self.snapshot_messages]

    def allow_early_commit(self) -> None:
        self.may_commit_early = self.begin_messages is not None and not self.wrapper.savepoint_ids

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
        self.begin_messages, self.may_commit_early = None, False
        self.pending.clear()

    def _must_begin(self) -> bool:
        """Return whether BEGIN has to be sent with the next statement."""
        return self.begin_messages is not None and self.pgconn.transaction_status == IDLE

    # ---- sending ----

    def _execute(
        self, statement: Statement, values: Sequence[object], commit_with: bool
    ) -> list[Row]:
        timings.statements += 1
        rendered = statement.for_postgresql or self._render(statement)
        buffers = rendered.dump(values)
        commits = commit_with and self.may_commit_early and not self.wrapper.savepoint_ids
        begins = self.begin_messages is not None and self.pgconn.transaction_status == IDLE
        if self.pending or commits or begins:
            message = self.transport.message_of(rendered, buffers)
            if message is not None:
                messages = [message, COMMIT] if commits else [message]
                return self._read_rows(self._send(messages, takes_lock=rendered.takes_lock))
            self.flush()
        return self._read_rows(self._run(rendered, buffers))

    def _defer(self, statement: Statement, values: Sequence[object]) -> None:
        rendered = statement.for_postgresql or self._render(statement)
        message = self.begin_messages and self.transport.message_of(rendered, rendered.dump(values))
        if message is None:
            self._execute(statement, values, commit_with=False)
        else:
            timings.statements += 1
            self.pending.append(message)

    def _run(self, rendered: PostgresStatement, buffers: list[bytes | None]) -> PGresult:
        # As `with self.watch`, which would cost two calls for each message.
        started = self.watch.waits_since = time.perf_counter()
        try:
            return self.transport.run(rendered, buffers)
        except psycopg.OperationalError as error:
            raise self.watch.explain(error) from None
        finally:
            self.watch.waits_since = None
            timings.add_message(started, takes_lock=rendered.takes_lock)

    def _send(self, statements: list[Message], *, takes_lock: bool = False) -> PGresult:
        """Send the deferred statements and these in one round trip.

        Return the result of the last statement that is not COMMIT. Raises the psycopg error of a
        statement that fails.
        """
        begin = self.begin_messages or [] if self._must_begin() else []
        messages = [*begin, *self.pending, *statements]
        self.pending.clear()
        started = self.watch.waits_since = time.perf_counter()
        try:
            result = self.transport.send(messages, -2 if len(statements) > 1 else -1)
        except psycopg.OperationalError as error:
            raise self.watch.explain(error) from None
        finally:
            self.watch.waits_since = None
            timings.add_message(started, takes_lock=takes_lock)
        if result.status not in (ROWS, DONE):
            raise self._error_of(result)
        return result

    def _read_rows(self, result: PGresult) -> list[Row]:
        if result.status != ROWS:
            if result.status == DONE:
                return []
            raise self._error_of(result)
        self.transformer.set_pgresult(result)
        rows: list[Row] = self.transformer.load_rows(0, result.ntuples, tuple)
        return rows

    def _render(self, statement: Statement) -> PostgresStatement:
        """Return the statement as PostgreSQL reads it. It is stored for later calls.

        Threads share statements. Two threads that store it at the same time store equal objects.
        """
        statement.for_postgresql = PostgresStatement(statement, self.connection)
        return statement.for_postgresql

    # ---- errors and listeners ----

    def _error_of(self, result: PGresult) -> Exception:
        """Return the psycopg error of a result that is a refusal."""
        return self.watch.explain(self.transport.error_of(result))

    def _raise(self, error: psycopg.Error) -> NoReturn:
        """Raise the Django error that corresponds to a psycopg error."""
        with self.wrapper.wrap_database_errors:
            raise error

    def _run_through_wrappers(
        self, statement: Statement, values: Sequence[object], work: Callable[[], Any]
    ) -> Any:
        """Run `work` through the execute wrappers and the debug log, as Django's cursors do."""

        def run(sql: str, params: object, many: bool, context: object) -> Any:
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
