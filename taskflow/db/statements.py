"""SQL with holes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, models
from django.db.models import Func
from django.db.models.expressions import Expression

from taskflow.db.pipeline import is_heard, read_rows
from taskflow.db.prepared import PLACEHOLDER, Prepared
from taskflow.db.sqlite.base import convert_overflow_errors


class Param(Expression):
    """A hole in what is compiled once. With `fill` it knows its value by itself."""

    def __init__(
        self, name: Any, output_field: Any = None, fill: Callable[[], Any] | None = None
    ) -> None:
        super().__init__(output_field=output_field or models.BigIntegerField())
        self.name, self.fill = name, fill

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        return "%s", [self]


@dataclass(frozen=True)
class Ids:
    """Any number of ids as one value, so that it takes one statement for all numbers of them."""

    values: tuple[int, ...]

    def __str__(self) -> str:
        """As PostgreSQL writes an array."""
        return f"{{{','.join(map(str, self.values))}}}"


class IdsField(models.Field):  # type: ignore[type-arg]
    """Of a hole that takes Ids."""

    def get_db_prep_save(self, value: Any, connection: Any) -> str:
        return json.dumps(value.values)


class Among(Func):
    """Whether a column holds one of the ids."""

    output_field = models.BooleanField()

    def __init__(self, column: str, ids: Any) -> None:
        super().__init__(models.F(column), ids)

    def as_sql(self, compiler: Any, connection: Any, *args: Any, **context: Any) -> Any:
        joiner, template = " = ANY(", "%(expressions)s)"
        if connection.vendor == "sqlite":
            joiner, template = " IN (SELECT value FROM json_each(", "%(expressions)s))"
        return super().as_sql(compiler, connection, template=template, arg_joiner=joiner)


@dataclass
class Hole:
    """What is filled in, at all places of the SQL where it stands."""

    param: Param
    places: list[int]

    @property
    def field(self) -> Any:
        return self.param.output_field


class Statement:
    """SQL of one database, as compiled: its parameters are values and holes."""

    def __init__(self, connection: Any, sql: str, params: Sequence[Any]) -> None:
        self.sql, self.params = sql, list(params)
        holes: dict[Any, Hole] = {}
        for place, param in enumerate(params):
            if isinstance(param, Param):
                key = (param.name, type(param.output_field))
                holes.setdefault(key, Hole(param, [])).places.append(place)
        self.holes = list(holes.values())
        self.fills = [(hole.param.name, hole.param.fill) for hole in self.holes]
        self.prepared: Prepared | None = None
        if connection.vendor == "postgresql":
            self.prepared = Prepared(self)

    def run(self, values: Any, *, last: bool = False) -> list[Any]:
        """The rows it returns. Values by the names of the holes; `last` if nothing is likely to be
        asked afterwards.
        """
        if self.prepared:
            connection = connections[DEFAULT_DB_ALIAS]
            return self.prepared.run(connection, self._fill(values), last=last)
        return self._run_directly(self.spread(self._fill(values)))

    def _run_directly(self, given: Sequence[Any]) -> list[Any]:
        """Run it on SQLite without Django's cursor, which rewrites the text at every call.

        Where wrappers or the debug log listen to Django's statements, its cursor is used.
        """
        connection = connections[DEFAULT_DB_ALIAS]
        if connection.connection is None or is_heard(connection):
            return run_anywhere(self.sql, given)
        connection.validate_no_broken_transaction()
        with connection.wrap_database_errors, convert_overflow_errors():
            rows: list[Any] = connection.connection.execute(self.text, given).fetchall()
            return rows

    @cached_property
    def text(self) -> str:
        """The SQL with SQLite's own placeholders."""
        return PLACEHOLDER.sub(lambda found: "%" if found[0] == "%%" else "?", self.sql)

    def run_later(self, values: Any) -> None:
        """Where nobody waits for what it returns: on PostgreSQL with the next statement."""
        if self.prepared:
            self.prepared.run_later(connections[DEFAULT_DB_ALIAS], self._fill(values))
        else:
            self.run(values)

    def count(self, values: Any) -> int:
        """How many rows it would return."""
        sql = f"SELECT count(*) FROM ({self.sql}) counted"  # noqa: S608 - the ORM's own
        return int(run_anywhere(sql, self.spread(self._fill(values)))[0][0])

    def as_execute(self, values: Any) -> bytes | None:
        """As SQL, to be sent with other statements; None where that cannot be done yet."""
        if self.prepared is None:
            return None
        conn = connections[DEFAULT_DB_ALIAS].connection
        return self.prepared.as_execute(conn, self._fill(values))

    def read(self, result: Any) -> list[Any]:
        """The rows of the result of as_execute()."""
        return read_rows(connections[DEFAULT_DB_ALIAS].connection, result)

    def spread(self, filled: Sequence[Any]) -> list[Any]:
        """The values of the holes among the others, as Django's cursor takes them."""
        given = self.params.copy()
        connection = connections[DEFAULT_DB_ALIAS]
        for hole, value in zip(self.holes, filled, strict=True):
            if self.prepared is None:
                value = hole.field.get_db_prep_save(value, connection)
            for place in hole.places:
                given[place] = value
        return given

    def _fill(self, values: Any) -> list[Any]:
        return [values[name] if fill is None else fill() for name, fill in self.fills]


def run_anywhere(sql: str, values: Sequence[Any]) -> list[Any]:
    """By Django's cursor."""
    with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        cursor.execute(sql, values)
        rows: list[Any] = cursor.fetchall() if cursor.description else []
        return rows
