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
from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

from django.conf import settings
from django.db import DataError, models
from psycopg import Connection
from psycopg.postgres import types
from psycopg.pq import Escaping, ExecStatus, Format
from psycopg.sql import Literal

from taskflow.db.pipeline import (
    ask,
    is_heard,
    owe,
    read_rows,
    refusal,
    session_of,
    settle,
    tell,
)

if TYPE_CHECKING:
    from taskflow.db.statements import Statement

MOST_PREPARED = 100  # statements per connection; each holds a plan
PREPARE_AFTER = 2  # executions
PLACEHOLDER = re.compile(r"%[s%]")
OIDS = {
    "BigIntegerField": types["int8"].oid,
    "DateTimeField": types["timestamptz"].oid,
    "DateField": types["date"].oid,
    "IdsField": types["int8"].array_oid,
}  # others have none: they become what stands beside them


class Written(NamedTuple):
    """A statement's text for PostgreSQL, and the name it is prepared under there.

    The name is made from the text, so that statements of the same text share one.
    """

    name: bytes
    text: bytes


class Prepared:
    """A statement whose holes are parameters. All else is written into its text, so that the one
    plan for all values knows it.
    """

    def __init__(self, statement: Statement) -> None:
        self.statement = statement
        fields = [hole.field for hole in statement.holes]
        self.oids = [OIDS.get(type(field).__name__, 0) for field in fields]
        self.dumpers = [_json_text if isinstance(f, models.JSONField) else _text for f in fields]
        self.formats = [Format.TEXT] * len(fields)
        # None until it is first run. Threads share this object, so it is assigned once, whole: two
        # threads that write it at the same time write the same.
        self.written: Written | None = None
        self.uses = 0

    def run(self, connection: Any, values: Sequence[Any], *, last: bool = False) -> list[Any]:
        """The rows it returns; `values` are those of the holes. The transaction may end with it
        if it is the `last`.
        """
        work = partial(self._run, connection, values, last)
        return self._do(connection, values, work)  # type: ignore[no-any-return]

    def run_later(self, connection: Any, values: Sequence[Any]) -> None:
        """Where nobody waits for what it returns: with the next statement, if that can be."""
        self._do(connection, values, partial(self._run_later, connection, values))

    def _do(self, connection: Any, values: Sequence[Any], work: Callable[[], Any]) -> Any:
        with connection.wrap_database_errors:
            if is_heard(connection):
                return tell(connection, self.statement.sql, self.statement.spread(values), work)
            return work()

    def as_execute(self, conn: Connection[Any], values: Sequence[Any]) -> bytes | None:
        """EXECUTE as SQL; None on a connection that does not know it yet."""
        written = self.written
        if written is None or written.name not in session_of(conn).names:
            return None
        escape = Escaping(conn.pgconn).escape_literal
        arguments = b", ".join(b"NULL" if v is None else escape(v) for v in self._dump(values))
        if not values:
            return b"EXECUTE " + written.name
        return b"EXECUTE %s(%s)" % (written.name, arguments)

    def _run(self, connection: Any, values: Sequence[Any], last: bool) -> list[Any]:
        conn = connection.connection
        session = session_of(conn)
        if session.owed or session.is_over or (last and session.opening):
            text = self.as_execute(conn, values)
            if text is not None:
                return read_rows(conn, ask(connection, text, last=last))
            settle(connection)
        buffers = self._dump(values)
        written = self.written or self._write(conn)
        if self._is_prepared(conn, written):
            result = conn.pgconn.exec_prepared(written.name, buffers, self.formats)
        else:
            result = conn.pgconn.exec_params(written.text, buffers, self.oids, self.formats)
        return read_rows(conn, result)

    def _run_later(self, connection: Any, values: Sequence[Any]) -> None:
        text = self.as_execute(connection.connection, values)
        if text is not None and connection.in_atomic_block:
            owe(connection, text)
        else:
            self._run(connection, values, last=False)

    def _is_prepared(self, conn: Connection[Any], written: Written) -> bool:
        """Whether the connection knows the statement, which is prepared if it has come to that."""
        session = session_of(conn)
        if session.is_unsure:
            session.forget_names()
        if written.name in session.names:
            return True
        self.uses += 1
        is_wanted = settings.PREPARED_STATEMENTS and self.uses >= PREPARE_AFTER
        if not is_wanted or len(session.names) >= MOST_PREPARED:
            return False
        result = conn.pgconn.prepare(written.name, written.text, self.oids)
        if result.status != ExecStatus.COMMAND_OK:
            raise refusal(conn, result)
        session.names.add(written.name)
        return True

    def _write(self, conn: Connection[Any]) -> Written:
        numbers = {p: n for n, hole in enumerate(self.statement.holes, 1) for p in hole.places}
        params = enumerate(self.statement.params)

        def filled(found: re.Match[str]) -> str:
            if found[0] == "%%":
                return "%"
            place, value = next(params)
            return f"${numbers[place]}" if place in numbers else Literal(value).as_string(conn)

        text = PLACEHOLDER.sub(filled, self.statement.sql).encode()
        name = b"tf_" + blake2b(text, digest_size=12).hexdigest().encode()
        self.written = Written(name, text)
        return self.written

    def _dump(self, values: Sequence[Any]) -> list[bytes | None]:
        pairs = zip(self.dumpers, values, strict=True)
        return [None if value is None else dump(value) for dump, value in pairs]


def _text(value: Any) -> bytes:
    if isinstance(value, date):
        return value.isoformat().encode()
    text = str(value)
    if "\0" in text:  # libpq would cut it there
        raise DataError("a text cannot hold NUL")
    return text.encode()


def _json_text(value: Any) -> bytes:
    return json.dumps(value).encode()
