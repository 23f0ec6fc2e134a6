"""Conditions on values inside a JSON column, with the same result on both databases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BooleanField, F, Func, TextField, Value
from django.db.models.expressions import Expression

from taskflow.db.types import SqlAndParams

if TYPE_CHECKING:
    from django.db.models.sql.compiler import SQLCompiler

NUMBERS = "('integer', 'real')"


class HasJsonValue(Func):
    """Whether a JSON column has one of the values under a path of keys. Never null.

    `values` is a JSON array of texts, numbers, booleans and nulls. Numbers are compared by value,
    so that 12 is 12.0; a number, a text and a boolean are never equal. Keys and values may be
    parameters of a query that is compiled once. A key is always the name in an object, never the
    position in a list. No index serves it: each row that is tested is parsed.
    """

    output_field = BooleanField()

    def __init__(self, column: str, path: Sequence[object], values: object) -> None:
        super().__init__(F(column), _as_expression(values), *map(_as_expression, path))

    def as_sql(
        self,
        compiler: SQLCompiler,
        connection: BaseDatabaseWrapper,
        *args: str | None,
        **context: str | None,
    ) -> SqlAndParams:
        compiled = [compiler.compile(source) for source in self.get_source_expressions()]
        (column, column_params), (values, values_params), *keys = compiled
        keys_params = [param for _, params in keys for param in params]
        steps = "".join(f" -> {sql}::text" for sql, _ in keys)
        is_one = f"({column}{steps}) = ANY (ARRAY(SELECT jsonb_array_elements({values}::jsonb)))"
        return f"coalesce({is_one}, false)", [*column_params, *keys_params, *values_params]

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: str | None
    ) -> SqlAndParams:
        """Use json_each(), since the paths of SQLite cannot name keys with quotes or escapes."""
        compiled = [compiler.compile(source) for source in self.get_source_expressions()]
        (column, column_params), (values, values_params), *keys = compiled
        tables = [f"json_each({column}) k0"]
        for n in range(1, len(keys)):
            inner = f"CASE k{n - 1}.type WHEN 'object' THEN k{n - 1}.value ELSE '{{}}' END"
            tables.append(f"json_each({inner}) k{n}")
        last = f"k{len(keys) - 1}"
        tests = [f"k{n}.key = {sql}" for n, (sql, _) in enumerate(keys)]
        tests.append(f"{last}.atom IS v.atom")
        both_numbers = f"{last}.type IN {NUMBERS} AND v.type IN {NUMBERS}"
        tests.append(f"({last}.type = v.type OR {both_numbers})")
        sql = (
            f"EXISTS (SELECT 1 FROM {', '.join(tables)}, json_each({values}) v"  # noqa: S608 - no value in it
            f" WHERE {' AND '.join(tests)})"
        )
        params = [*column_params, *values_params, *(p for _, ps in keys for p in ps)]
        return sql, params


def _as_expression(value: object) -> Expression:
    return value if isinstance(value, Expression) else Value(value, TextField())
