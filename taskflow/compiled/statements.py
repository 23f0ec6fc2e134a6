"""SQL with holes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections, models
from django.db.models import Func
from django.db.models.expressions import Expression

from taskflow.compiled.prepared import Prepared, read_rows


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


class Statement:
    """SQL of one database, as compiled: its parameters are values and holes."""

    def __init__(self, connection: Any, sql: str, params: Sequence[Any]) -> None:
        self.sql, self.params = sql, list(params)
        holes = {n: p for n, p in enumerate(params) if isinstance(p, Param)}
        self.holes = [(n, hole.name, hole.fill) for n, hole in holes.items()]
        fields = {n: hole.output_field for n, hole in holes.items()}
        self.prepared: Prepared | None = None
        self.adapters: dict[int, Callable[..., Any]] = {}
        if connection.vendor == "postgresql":
            self.prepared = Prepared(sql, self.params, fields)
        else:
            self.adapters = {n: field.get_db_prep_save for n, field in fields.items()}

    def run(self, values: Any, *, skip: int = 0) -> list[Any]:
        """The rows it returns. Values by the names of the holes."""
        connection = connections[DEFAULT_DB_ALIAS]
        filled = self._fill(values, connection)
        if skip:
            return run_anywhere(f"{self.sql} OFFSET %s", [*filled, skip])
        if self.prepared:
            return self.prepared.run(connection, filled)
        return run_anywhere(self.sql, filled)

    def count(self, values: Any) -> int:
        """How many rows it would return."""
        filled = self._fill(values, connections[DEFAULT_DB_ALIAS])
        sql = f"SELECT count(*) FROM ({self.sql}) counted"  # noqa: S608 - the ORM's own
        return int(run_anywhere(sql, filled)[0][0])

    def as_execute(self, values: Any) -> bytes | None:
        """As SQL, to be sent with other statements; None where that cannot be done yet."""
        connection = connections[DEFAULT_DB_ALIAS]
        if self.prepared is None:
            return None
        return self.prepared.as_execute(connection.connection, self._fill(values, connection))

    def read(self, result: Any) -> list[Any]:
        """The rows of the result of as_execute()."""
        return read_rows(connections[DEFAULT_DB_ALIAS].connection, result)

    def _fill(self, values: Any, connection: Any) -> list[Any]:
        filled = self.params.copy()
        for n, name, fill in self.holes:
            filled[n] = values[name] if fill is None else fill()
        for n, adapt in self.adapters.items():
            filled[n] = adapt(filled[n], connection)
        return filled


def run_anywhere(sql: str, values: Sequence[Any]) -> list[Any]:
    """By Django's cursor."""
    with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        cursor.execute(sql, values)
        rows: list[Any] = cursor.fetchall() if cursor.description else []
        return rows
