"""SQL with parameters."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.db import DEFAULT_DB_ALIAS, connections, models
from django.db.models import Func
from django.db.models.expressions import Expression

from taskflow.db.session import current_session

if TYPE_CHECKING:
    from taskflow.db.postgresql.statement import PostgresStatement

PLACEHOLDER = re.compile(r"%[s%]")


class Parameter(Expression):
    """A value that is given when a compiled query is run, by its name.

    With a `source` that function returns the value, and none is given.
    """

    def __init__(
        self, name: Any, output_field: Any = None, source: Callable[[], Any] | None = None
    ) -> None:
        super().__init__(output_field=output_field or models.BigIntegerField())
        self.name, self.source = name, source

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        return "%s", [self]


@dataclass(frozen=True)
class IdArray:
    """Any number of ids as one value, so that it takes one statement for all numbers of them."""

    values: tuple[int, ...]

    def __str__(self) -> str:
        """As PostgreSQL writes an array."""
        return f"{{{','.join(map(str, self.values))}}}"


class IdArrayField(models.Field):  # type: ignore[type-arg]
    """The field of a parameter that takes IdArray."""

    def get_db_prep_save(self, value: Any, connection: Any) -> str:
        return str(value) if connection.vendor == "postgresql" else json.dumps(value.values)


class IsInIds(Func):
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
class ParameterUse:
    """A parameter of a statement, at all its positions in the SQL."""

    parameter: Parameter
    positions: list[int]

    @property
    def field(self) -> Any:
        return self.parameter.output_field


class Statement:
    """SQL of one database, as compiled: its params are values and Parameters."""

    def __init__(self, sql: str, params: Sequence[Any]) -> None:
        self.sql, self.params = sql, list(params)
        uses: dict[Any, ParameterUse] = {}
        for position, param in enumerate(params):
            if isinstance(param, Parameter):
                key = (param.name, type(param.output_field))
                uses.setdefault(key, ParameterUse(param, [])).positions.append(position)
        self.parameters = list(uses.values())
        self.sources = [(use.parameter.name, use.parameter.source) for use in self.parameters]
        self.server: PostgresStatement | None = None  # written at the first execution on PostgreSQL

    def run(self, values: Any, *, commit_with: bool = False) -> list[Any]:
        """Return the rows. `values` are by the names of the parameters. See Session.execute()."""
        return current_session().execute(self, self._fill(values), commit_with=commit_with)

    def defer(self, values: Any) -> None:
        """Run it where its rows are not needed. See Session.defer()."""
        current_session().defer(self, self._fill(values))

    def count(self, values: Any) -> int:
        """Return how many rows it would return."""
        sql = f"SELECT count(*) FROM ({self.sql}) counted"  # noqa: S608 - the ORM's own
        counting = Statement(sql, self.params)
        params = self.spread(self._fill(values), connections[DEFAULT_DB_ALIAS])
        return int(counting.run_with_cursor(params)[0][0])

    @cached_property
    def text(self) -> str:
        """The SQL with SQLite's own placeholders."""
        return PLACEHOLDER.sub(lambda match: "%" if match[0] == "%%" else "?", self.sql)

    def spread(self, filled: Sequence[Any], wrapper: Any) -> list[Any]:
        """Return the values of the parameters among the others, as Django's cursors take them."""
        params = self.params.copy()
        for use, value in zip(self.parameters, filled, strict=True):
            prepared = use.field.get_db_prep_save(value, wrapper)
            for position in use.positions:
                params[position] = prepared
        return params

    def run_with_cursor(self, params: Sequence[Any]) -> list[Any]:
        """Run it by Django's cursor, with a value for each placeholder."""
        with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
            cursor.execute(self.sql, params)
            rows: list[Any] = cursor.fetchall() if cursor.description else []
            return rows

    def _fill(self, values: Any) -> list[Any]:
        return [values[name] if source is None else source() for name, source in self.sources]
