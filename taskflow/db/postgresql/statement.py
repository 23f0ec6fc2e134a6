"""A compiled statement in the form that is sent to PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from django.db import DataError, models
from psycopg import Connection
from psycopg.postgres import types
from psycopg.pq import Format
from psycopg.sql import Literal
from pydantic_core import to_json

if TYPE_CHECKING:
    from taskflow.db.statements import Statement

PLACEHOLDER = re.compile(r"%[s%]")  # as Django's compiler writes them
OIDS = {
    "BigIntegerField": types["int8"].oid,
    "DateTimeField": types["timestamptz"].oid,
    "DateField": types["date"].oid,
    "IdArrayField": types["int8"].array_oid,
}  # other parameters have none: PostgreSQL infers their type from the SQL
ROW_LOCK = re.compile(r" FOR (UPDATE|NO KEY UPDATE|SHARE)\b")


class PostgresStatement:
    """The SQL of a statement with its parameters as $1, $2 and so on.

    All other values are written into the SQL, so that the planner can use them. A prepared
    statement is named by a hash of its SQL, so that equal statements share one name.
    """

    def __init__(self, statement: Statement, connection: Connection) -> None:
        fields = [parameter.field for parameter in statement.parameters]
        self.oids = [OIDS.get(type(field).__name__, 0) for field in fields]
        self.formats = [Format.TEXT] * len(fields)
        self.dumpers: list[Callable[[Any], bytes]] = [
            _dump_json if isinstance(field, models.JSONField) else _dump for field in fields
        ]
        self.takes_text = [dump is _dump for dump in self.dumpers]
        self.text = _numbered_text(statement, connection)
        self.name = b"tf_" + blake2b(self.text, digest_size=12).hexdigest().encode()
        self.uses = 0
        self.takes_lock = ROW_LOCK.search(statement.sql) is not None  # it may wait for others

    def dump(self, values: Sequence[object]) -> list[bytes | None]:
        """Return the values of the parameters in the text format of libpq; None for null."""
        # The most frequent types are written here, because a call would cost more than the rest.
        return [
            None
            if value is None
            else b"%d" % value
            if type(value) is int
            else value.encode()
            if takes_text and type(value) is str and "\0" not in value
            else dump(value)
            for dump, takes_text, value in zip(self.dumpers, self.takes_text, values, strict=True)
        ]


def _numbered_text(statement: Statement, connection: Connection) -> bytes:
    numbers = {
        position: number
        for number, parameter in enumerate(statement.parameters, 1)
        for position in parameter.positions
    }
    params = enumerate(statement.params)

    def fill(match: re.Match[str]) -> str:
        if match[0] == "%%":
            return "%"
        position, value = next(params)
        if position in numbers:
            return f"${numbers[position]}"
        return Literal(value).as_string(connection)

    return PLACEHOLDER.sub(fill, statement.sql).encode()


def _dump(value: Any) -> bytes:
    if type(value) is str:
        text = value
    elif isinstance(value, date):
        text = value.isoformat()
    else:
        text = str(value)
    if "\0" in text:  # libpq would end the text there
        raise DataError("a text cannot contain NUL")
    return text.encode()


def _dump_json(value: object) -> bytes:
    return to_json(value)
