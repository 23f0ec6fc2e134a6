"""SQL statements with parameters, which are compiled once and run many times."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.db import DEFAULT_DB_ALIAS, connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Func
from django.db.models.expressions import Expression

from taskflow.db.session import current_session
from taskflow.db.types import AnyField, ParameterValues, Row, SqlAndParams

if TYPE_CHECKING:
    from django.db.models.sql.compiler import SQLCompiler

    from taskflow.db.postgresql.statement import PostgresStatement

PLACEHOLDER = re.compile(r"%[s%]")


class Parameter(Expression):
    """A placeholder in a queryset for a value that is given, by its name, when the query is run.

    With a `source`, the value is not given: that function returns it at each run.
    """

    def __init__(
        self,
        name: str | int,
        output_field: AnyField | None = None,
        source: Callable[[], object] | None = None,
    ) -> None:
        super().__init__(output_field=output_field or models.BigIntegerField())
        self.name, self.source = name, source

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> SqlAndParams:
        return "%s", [self]


@dataclass(frozen=True)
class IdArray:
    """Any number of ids as one value, so that the SQL does not depend on their number."""

    values: tuple[int, ...]

    def __str__(self) -> str:
        """Return the ids as an array in PostgreSQL's notation."""
        return f"{{{','.join(map(str, self.values))}}}"


class IdArrayField(models.Field):  # type: ignore[type-arg]
    """The field of a Parameter whose value is an IdArray."""

    def get_db_prep_save(self, value: Any, connection: BaseDatabaseWrapper) -> str:
        return str(value) if connection.vendor == "postgresql" else json.dumps(value.values)


class IsInIds(Func):
    """Whether a column holds one of the ids, which are an IdArray or a Parameter."""

    output_field = models.BooleanField()

    def __init__(self, column: str, ids: IdArray | Expression) -> None:
        super().__init__(models.F(column), ids)

    def as_sql(
        self,
        compiler: SQLCompiler,
        connection: BaseDatabaseWrapper,
        *args: str | None,
        **context: str | None,
    ) -> SqlAndParams:
        joiner, template = " = ANY(", "%(expressions)s)"
        if connection.vendor == "sqlite":
            joiner, template = " IN (SELECT value FROM json_each(", "%(expressions)s))"
        return super().as_sql(compiler, connection, template=template, arg_joiner=joiner)


@dataclass
class ParameterUse:
    """A parameter of a statement, with its positions among the placeholders of the SQL."""

    parameter: Parameter
    positions: list[int]

    @property
    def field(self) -> AnyField:
        return self.parameter.output_field


class Statement:
    """SQL as Django's compiler returns it. Its params are values and Parameters."""

    def __init__(self, sql: str, params: Sequence[object]) -> None:
        self.sql, self.params = sql, list(params)
        uses: dict[tuple[str | int, type[AnyField]], ParameterUse] = {}
        for position, param in enumerate(params):
            if isinstance(param, Parameter):
                key = (param.name, type(param.output_field))
                uses.setdefault(key, ParameterUse(param, [])).positions.append(position)
        self.parameters = list(uses.values())
        self.sources = [(use.parameter.name, use.parameter.source) for use in self.parameters]
        self.for_postgresql: PostgresStatement | None = (
            None  # set by the first execution on PostgreSQL
        )

    def run(self, values: ParameterValues, *, commit_with: bool = False) -> list[Row]:
        """Run it and return its rows. `values` are by parameter name. See Session.execute()."""
        ordered = [values[name] if source is None else source() for name, source in self.sources]
        return current_session().execute(self, ordered, commit_with=commit_with)

    def defer(self, values: ParameterValues) -> None:
        """Run it without returning its rows. See Session.defer()."""
        current_session().defer(self, self._values_in_order(values))

    def count(self, values: ParameterValues) -> int:
        """Return how many rows it would return. Not prepared, so slower than run()."""
        sql = f"SELECT count(*) FROM ({self.sql}) counted"  # noqa: S608 - the ORM's own
        counting = Statement(sql, self.params)
        params = self.place_values(self._values_in_order(values), connections[DEFAULT_DB_ALIAS])
        return int(counting.run_with_cursor(params)[0][0])

    @cached_property
    def sqlite_sql(self) -> str:
        """The SQL with the placeholders of SQLite."""
        return PLACEHOLDER.sub(lambda match: "%" if match[0] == "%%" else "?", self.sql)

    def place_values(self, values: Sequence[object], wrapper: BaseDatabaseWrapper) -> list[Any]:
        """Return params for Django's cursors: each Parameter is replaced by its value."""
        params = self.params.copy()
        for use, value in zip(self.parameters, values, strict=True):
            prepared = use.field.get_db_prep_save(value, wrapper)
            for position in use.positions:
                params[position] = prepared
        return params

    def run_with_cursor(self, params: Sequence[Any]) -> list[Row]:
        """Run it with Django's cursor. `params` holds a value for each placeholder."""
        with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
            cursor.execute(self.sql, params)
            rows: list[Row] = cursor.fetchall() if cursor.description else []
            return rows

    def _values_in_order(self, values: ParameterValues) -> list[object]:
        """Return the values of the parameters in their order."""
        return [values[name] if source is None else source() for name, source in self.sources]
