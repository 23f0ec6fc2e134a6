"""How a PostgresSession sends statements: several in one text, or as messages of the protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from weakref import WeakKeyDictionary

import psycopg
from django.conf import settings
from psycopg.abc import PQGen
from psycopg.errors import (
    DuplicatePreparedStatement,
    FeatureNotSupported,
    InvalidSqlStatementName,
    error_from_result,
)
from psycopg.generators import execute, fetch_many, send
from psycopg.pq import ConnStatus, Escaping, ExecStatus
from psycopg.pq.abc import PGresult

from taskflow.db.postgresql.statement import PostgresStatement

# Statements of a connection. Each holds a plan, of 0.7 MB for a list. The oldest is deallocated.
MAX_PREPARED = 100
PREPARE_AFTER = 2  # executions
ROWS, DONE = ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK
# The server has other prepared statements than PreparedNames says: another client of the connection
# has prepared one, or deallocated some, for example by DISCARD ALL.
OUT_OF_SYNC_ERRORS = (DuplicatePreparedStatement, InvalidSqlStatementName)
# PostgreSQL's function that refuses a prepared statement after a column has changed its type.
CHECK_OF_RESULT_TYPE = "RevalidateCachedQuery"

Buffers = Sequence[bytes | None]
Message = Any  # made and sent by one Transport


class Transport(Protocol):
    """Sends the statements of one connection."""

    begin: Sequence[Message]  # what begins a transaction

    def settings_of(self, values: Mapping[str, str]) -> Sequence[Message]:
        """Return what sets these parameters of the server for the rest of the transaction."""

    def message_of(self, rendered: PostgresStatement, buffers: Buffers) -> Message | None:
        """Return what runs a statement, or None while it can only be run alone."""

    def run(self, rendered: PostgresStatement, buffers: Buffers) -> PGresult:
        """Run a statement alone. Return its result, which may be a refusal."""

    def send(self, messages: Sequence[Message], result_index: int) -> PGresult:
        """Send the messages in one round trip. Return the first refusal, or the result of the last
        message (`result_index` is -1) or of the one before it (-2).
        """

    def error_of(self, result: PGresult) -> Exception:
        """Return the psycopg error of a result that is a refusal."""


def choose_transport(connection: psycopg.Connection) -> Transport:
    return PipelineTransport(connection) if settings.POOLER else TextTransport(connection)


def _error_of(connection: psycopg.Connection, result: PGresult) -> psycopg.Error:
    if connection.pgconn.status == ConnStatus.BAD:  # psycopg has no class for it
        return psycopg.OperationalError(result.error_message or "The connection is lost.")
    error = error_from_result(result, encoding=connection.info.encoding)
    if _is_of_other_types(error):  # retried as any other statement that must be prepared again
        return InvalidSqlStatementName(str(error))
    return error


def _is_of_other_types(error: psycopg.Error) -> bool:
    """Whether a column of a prepared statement has changed its type since it was prepared."""
    function = error.diag.source_function if isinstance(error, FeatureNotSupported) else None
    return function == CHECK_OF_RESULT_TYPE


# ---- a connection of our own --------------------------------------------------------------------


class PreparedNames:
    """The names of the statements that a connection has prepared."""

    def __init__(self) -> None:
        self.names: dict[bytes, None] = {}  # the oldest first
        self.is_out_of_sync = False  # whether the server may have other names than these


# By connection, since a pool gives one connection to many threads in turn.
_prepared: WeakKeyDictionary[psycopg.Connection, PreparedNames] = WeakKeyDictionary()


class TextTransport:
    """Prepares each statement by name, and sends several as one text: EXECUTE for each of them.

    This takes the least CPU. The prepared statements belong to the connection to the server.
    """

    begin: Sequence[bytes] = (b"BEGIN",)

    def __init__(self, connection: psycopg.Connection) -> None:
        self.connection, self.pgconn = connection, connection.pgconn
        self.prepared = _prepared.setdefault(connection, PreparedNames())

    def settings_of(self, values: Mapping[str, str]) -> Sequence[bytes]:
        calls = [f"set_config('{name}', '{value}', true)" for name, value in values.items()]
        return [f"SELECT {', '.join(calls)}".encode()]

    def message_of(self, rendered: PostgresStatement, buffers: Buffers) -> bytes | None:
        if rendered.name not in self.prepared.names:
            return None
        if not buffers:
            return b"EXECUTE " + rendered.name
        escape = Escaping(self.pgconn).escape_literal
        arguments = [b"NULL" if value is None else escape(value) for value in buffers]
        return b"EXECUTE %s(%s)" % (rendered.name, b", ".join(arguments))

    def run(self, rendered: PostgresStatement, buffers: Any) -> PGresult:
        prepared = self.prepared
        is_ready = rendered.name in prepared.names and not prepared.is_out_of_sync
        if is_ready or self._prepare(rendered):
            return self.pgconn.exec_prepared(rendered.name, buffers, rendered.formats)
        return self.pgconn.exec_params(rendered.text, buffers, rendered.oids, rendered.formats)

    def send(self, messages: Sequence[bytes], result_index: int) -> PGresult:
        text = b"; ".join(messages)
        if result_index == -1:
            return self.pgconn.exec_(text)  # the last result, or the refusal
        self.pgconn.send_query(text)
        results: list[PGresult] = self.connection.wait(execute(self.pgconn))
        return results[-1] if results[-1].status not in (ROWS, DONE) else results[result_index]

    def error_of(self, result: PGresult) -> Exception:
        error = _error_of(self.connection, result)
        if isinstance(error, OUT_OF_SYNC_ERRORS):
            # This error has ended the transaction. When it is run again, all names are deallocated.
            self.prepared.names.clear()
            self.prepared.is_out_of_sync = True
        return error

    def _prepare(self, rendered: PostgresStatement) -> bool:
        """Prepare the statement at its second execution. Return whether it is prepared."""
        prepared = self.prepared
        if prepared.is_out_of_sync:
            self._deallocate_all()
        rendered.uses += 1
        if rendered.uses < PREPARE_AFTER:
            return False
        if len(prepared.names) >= MAX_PREPARED:
            oldest = next(iter(prepared.names))
            self._check(self.pgconn.exec_(b"DEALLOCATE " + oldest))
            del prepared.names[oldest]
        self._check(self.pgconn.prepare(rendered.name, rendered.text, rendered.oids))
        prepared.names[rendered.name] = None
        return True

    def _deallocate_all(self) -> None:
        """Deallocate all prepared statements, here and on the server."""
        self._check(self.pgconn.exec_(b"DEALLOCATE ALL"))
        self.prepared.names.clear()
        self.prepared.is_out_of_sync = False

    def _check(self, result: PGresult) -> None:
        if result.status != DONE:
            raise self.error_of(result)


# ---- a connection of a pooler -------------------------------------------------------------------


class PipelineTransport:
    """Sends each statement as messages of the protocol, which poolers and Citus can follow.

    A pooler gives each transaction any connection to the server, so that a transaction must not
    rely on what another has set, nor on what it has prepared unless the pooler prepares it again
    (?pooler=prepared). The parameters stay apart from the text; only settings are written into it.
    """

    def __init__(self, connection: psycopg.Connection) -> None:
        self.connection, self.pgconn = connection, connection.pgconn
        self.begin: Sequence[bytes] = [b"BEGIN", *self.settings_of(settings.SERVER_SETTINGS)]
        self.names: set[bytes] = set()  # of prepared statements
        self.max_prepared = MAX_PREPARED if settings.POOLER == "prepared" else 0

    def settings_of(self, values: Mapping[str, str]) -> Sequence[bytes]:
        """As SET LOCAL, which Citus passes on to its workers. It does not pass set_config() on."""
        return [f"SET LOCAL {name} = '{value}'".encode() for name, value in values.items()]

    def message_of(
        self, rendered: PostgresStatement, buffers: Buffers
    ) -> tuple[PostgresStatement, Buffers]:
        return rendered, buffers

    def run(self, rendered: PostgresStatement, buffers: Buffers) -> PGresult:
        return self.send([(rendered, buffers)], result_index=-1)

    def send(
        self, messages: Sequence[bytes | tuple[PostgresStatement, Buffers]], result_index: int
    ) -> PGresult:
        pgconn = self.pgconn
        new: dict[bytes, int] = {}  # names that are prepared, each with the number of its result
        pgconn.enter_pipeline_mode()
        try:
            for number, message in enumerate(messages):
                if isinstance(message, bytes):
                    pgconn.send_query_params(message, None)
                else:
                    self._send_statement(*message, new, number)
            pgconn.pipeline_sync()
            results = self.connection.wait(self._read_results(len(messages) + len(new)))
        finally:
            if pgconn.status == ConnStatus.OK:
                pgconn.exit_pipeline_mode()
        # What was prepared stays so, also when a later message is refused.
        self.names |= {name for name, index in new.items() if results[index].status == DONE}
        refusals = (result for result in results if result.status not in (ROWS, DONE))
        return next(refusals, results[result_index])

    def _send_statement(
        self, rendered: PostgresStatement, buffers: Buffers, new: dict[bytes, int], number: int
    ) -> None:
        """Send message `number`: by its name, which is first prepared if it is new, or whole."""
        if rendered.name not in self.names and rendered.name not in new:
            if len(self.names) + len(new) >= self.max_prepared:
                self.pgconn.send_query_params(
                    rendered.text, buffers, rendered.oids, rendered.formats
                )
                return
            self.pgconn.send_prepare(rendered.name, rendered.text, rendered.oids)
            new[rendered.name] = number + len(new)
        self.pgconn.send_query_prepared(rendered.name, buffers, rendered.formats)

    def _read_results(self, count: int) -> PQGen[list[PGresult]]:
        """Return one result of each message. Those after a refusal are marked as not run."""
        yield from send(self.pgconn)
        results: list[PGresult] = []
        for _ in range(count):
            results += yield from fetch_many(self.pgconn)
        yield from fetch_many(self.pgconn)  # the end of the pipeline
        return results

    def error_of(self, result: PGresult) -> Exception:
        error = _error_of(self.connection, result)
        if isinstance(error, OUT_OF_SYNC_ERRORS):
            # This pooler does not prepare again. The transaction is run again without names.
            self.names.clear()
            self.max_prepared = 0
        return error
