"""
How PostgreSQL runs a statement: prepared once per connection, under a name of its own, and run by
libpq directly. Looking for `%s` and choosing types again at every call costs more than the rest.

psycopg itself must not prepare anything on these connections (it does not, as Django sets it up):
after a rollback it would have the server forget all that is prepared, ours too.

What listens to Django's statements (execute wrappers, the debug log) hears of these too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from functools import partial
from hashlib import blake2b
from typing import Any

from django.conf import settings
from django.db import DataError, models
from psycopg import Connection, OperationalError
from psycopg.adapt import AdaptersMap, PyFormat, Transformer
from psycopg.errors import InvalidSqlStatementName, error_from_result
from psycopg.postgres import types
from psycopg.pq import ConnStatus, Escaping, ExecStatus, Format
from psycopg.types.datetime import TimestamptzLoader

MOST_PREPARED = 100  # statements per connection; each holds a plan
PREPARE_AFTER = 2  # executions
PLACEHOLDER = re.compile(r"%[s%]")
OIDS = {
    "BigIntegerField": types["int8"].oid,
    "DateTimeField": types["timestamptz"].oid,
    "DateField": types["date"].oid,
    "IdsField": types["int8"].array_oid,
}  # others have none: they become what stands beside them


class _Known:
    """What a connection has learnt: the statements it has prepared, and how to read its values."""

    def __init__(self, conn: Connection[Any]) -> None:
        self.names: set[bytes] = set()
        self.connection, self.adapters = conn, AdaptersMap(conn.adapters)
        # Django's is Python; the instants are UTC's either way, as the connection is.
        self.adapters.register_loader("timestamptz", TimestamptzLoader)
        self.transformer = Transformer.from_context(self)


def _known_of(conn: Connection[Any]) -> _Known:
    """Kept with the connection, and gone with it."""
    known: _Known | None = vars(conn).get("taskflow")
    if known is None:
        known = vars(conn)["taskflow"] = _Known(conn)
    return known


class Prepared:
    """SQL whose places in `holes` get values, each of its field; the other `params` stay."""

    def __init__(self, sql: str, params: Sequence[Any], holes: Mapping[int, Any]) -> None:
        self.sql, self.params, self.holes = sql, params, holes
        count = iter(range(1, len(params) + 1))
        numbered = PLACEHOLDER.sub(lambda m: f"${next(count)}" if m[0] == "%s" else "%", sql)
        self.text = numbered.encode()
        self.name = b"tf_" + blake2b(self.text, digest_size=12).hexdigest().encode()
        self.dumpers = {
            n: _json_text if isinstance(field, models.JSONField) else _text
            for n, field in holes.items()
        }
        self.uses = 0
        self.constants: list[Any] | None = None

    def run(self, connection: Any, values: Sequence[Any]) -> list[Any]:
        """The rows it returns; `values` are all its parameters."""
        execute: Callable[..., Any] = partial(self._execute, connection.connection)
        for wrapper in reversed(connection.execute_wrappers):
            execute = partial(wrapper, execute)
        if connection.queries_logged:
            said = self.sql % tuple(map(repr, values))
            connection.queries_log.append({"sql": said, "time": ""})
        with connection.wrap_database_errors:
            context = {"connection": connection, "cursor": None}
            rows: list[Any] = execute(self.sql, values, False, context)
        return rows

    def as_execute(self, conn: Connection[Any], values: Sequence[Any]) -> bytes | None:
        """EXECUTE as SQL; None on a connection that does not know it yet."""
        if self.name not in _known_of(conn).names:
            return None
        escape = Escaping(conn.pgconn).escape_literal
        arguments = [b"NULL" if v is None else escape(v) for v in self._dump(values)]
        return b"EXECUTE %s(%s)" % (self.name, b", ".join(arguments))

    def _execute(
        self, conn: Connection[Any], sql: str, values: Sequence[Any], many: bool, context: Any
    ) -> list[Any]:
        if self.constants is None:
            self._read_constants(conn)
        buffers = self._dump(values)
        if self._is_prepared(conn):
            result = conn.pgconn.exec_prepared(self.name, buffers, self.formats)
        else:
            result = conn.pgconn.exec_params(self.text, buffers, self.oids, self.formats)
        return read_rows(conn, result)

    def _is_prepared(self, conn: Connection[Any]) -> bool:
        names = _known_of(conn).names
        if self.name in names:
            return True
        self.uses += 1
        is_wanted = settings.PREPARED_STATEMENTS and self.uses >= PREPARE_AFTER
        if not is_wanted or len(names) >= MOST_PREPARED:
            return False
        result = conn.pgconn.prepare(self.name, self.text, self.oids)
        if result.status != ExecStatus.COMMAND_OK:
            raise refusal(conn, result)
        names.add(self.name)
        return True

    def _read_constants(self, conn: Connection[Any]) -> None:
        """Parameters that are always the same, as psycopg sends them."""
        given = [None if n in self.holes else value for n, value in enumerate(self.params)]
        transformer = Transformer.from_context(conn)
        constants = transformer.dump_sequence(given, [PyFormat.TEXT] * len(given))
        self.oids = list(transformer.types or ())
        for n, field in self.holes.items():
            self.oids[n] = OIDS.get(type(field).__name__, 0)
        self.formats = [Format.TEXT] * len(given)
        self.constants = list(constants)

    def _dump(self, values: Sequence[Any]) -> list[Any]:
        buffers = list(self.constants or ())
        for n, dump in self.dumpers.items():
            value = values[n]
            buffers[n] = None if value is None else dump(value)
        return buffers


def _text(value: Any) -> bytes:
    if isinstance(value, date):
        return value.isoformat().encode()
    text = str(value)
    if "\0" in text:  # libpq would cut it there
        raise DataError("a text cannot hold NUL")
    return text.encode()


def _json_text(value: Any) -> bytes:
    return json.dumps(value).encode()


def refusal(conn: Connection[Any], result: Any) -> Exception:
    """What to raise for a result that is none."""
    if conn.pgconn.status == ConnStatus.BAD:  # psycopg has no name for it
        return OperationalError(result.error_message or "The connection is lost.")
    error = error_from_result(result, encoding=conn.info.encoding)
    if isinstance(error, InvalidSqlStatementName):  # somebody had the server forget it
        _known_of(conn).names.clear()
    return error


def read_rows(conn: Connection[Any], result: Any) -> list[Any]:
    """Raises what the database refused."""
    if result.status == ExecStatus.COMMAND_OK:
        return []
    if result.status != ExecStatus.TUPLES_OK:
        raise refusal(conn, result)
    transformer = _known_of(conn).transformer
    transformer.set_pgresult(result)
    rows: list[Any] = transformer.load_rows(0, result.ntuples, tuple)
    return rows
