"""SQL functions for JSON and text that give the same result on both databases."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Func, Q, Subquery, TextField, Value
from django.db.models.expressions import BaseExpression, Expression
from django.db.models.functions import StrIndex
from django.db.models.lookups import GreaterThan

from taskflow.db.types import SqlAndParams, SqlExpression

if TYPE_CHECKING:
    from django.db.models.sql.compiler import SQLCompiler


class JsonText(TextField):  # type: ignore[type-arg]
    """The type of an expression whose JSON is not parsed in Python, but passed on as text."""


class JsonObject(Func):
    """A JSON object whose keys are in the SQL. Django's own class sends them as parameters."""

    output_field = JsonText()

    def __init__(self, **fields: SqlExpression) -> None:
        self.keys = list(fields)
        super().__init__(*fields.values())

    def as_sql(
        self,
        compiler: SQLCompiler,
        connection: BaseDatabaseWrapper,
        *args: str | None,
        **context: str | None,
    ) -> SqlAndParams:
        name = "json_build_object" if connection.vendor == "postgresql" else "json_object"
        parts: list[str] = []
        params: list[object] = []
        for key, expression in zip(self.keys, self.get_source_expressions(), strict=True):
            sql, inner_params = compiler.compile(expression)
            parts.append(f"'{key}', {_as_json(expression, sql, connection)}")
            params += inner_params
        return f"{name}({', '.join(parts)})", params


class JsonArray(Func):
    """A JSON array of the given expressions."""

    output_field = JsonText()

    def as_sql(
        self,
        compiler: SQLCompiler,
        connection: BaseDatabaseWrapper,
        *args: str | None,
        **context: str | None,
    ) -> SqlAndParams:
        name = "json_build_array" if connection.vendor == "postgresql" else "json_array"
        parts: list[str] = []
        params: list[object] = []
        for expression in self.get_source_expressions():
            sql, inner_params = compiler.compile(expression)
            parts.append(_as_json(expression, sql, connection))
            params += inner_params
        return f"{name}({', '.join(parts)})", params


def _as_json(expression: BaseExpression, sql: str, connection: BaseDatabaseWrapper) -> str:
    """Return the SQL, marked as JSON for SQLite, which would quote a subquery's result as text."""
    is_json = isinstance(expression.output_field, JsonText | models.JSONField)
    return f"json({sql})" if is_json and connection.vendor == "sqlite" else sql


class JsonList(Subquery):
    """A JSON array of the values in the only column of a subquery."""

    output_field = JsonText()
    template = "(SELECT coalesce(json_agg(j.d), '[]'::json) FROM (%(subquery)s) j(d))"

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: str | None
    ) -> SqlAndParams:
        is_json = "_item" in self.query.annotation_select
        item = "json(j.d)" if is_json else "j.d"
        template = f"(WITH j(d) AS (%(subquery)s) SELECT json_group_array({item}) FROM j)"  # noqa: S608 - no value in it
        return super().as_sql(compiler, connection, template=template, **context)


def contains_text(text: object, *columns: str | Expression) -> Q:
    """Return the condition that one of the columns contains the text.

    `text` is folded, and so must the columns be: the two databases have other rules for the case of
    letters. `text` may be a parameter of a query that is compiled once.
    """
    value = text if isinstance(text, Expression) else Value(text)
    return reduce(or_, (Q(GreaterThan(StrIndex(c, value), 0)) for c in columns))


class AsText(Func):
    """A JSON value or a date as text. The database driver would parse it otherwise."""

    template = "(%(expressions)s)::text"
    output_field = TextField()

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: str | None
    ) -> SqlAndParams:
        return super().as_sql(compiler, connection, template="%(expressions)s", **context)


class AsJson(Func):
    """A JSON column inside a JSON object or array."""

    template = "%(expressions)s"
    output_field = JsonText()


class AsJsonBoolean(Func):
    """A boolean as JSON true or false. SQLite stores 1 and 0."""

    template = "(%(expressions)s)"
    output_field = JsonText()

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: str | None
    ) -> SqlAndParams:
        template = "CASE WHEN %(expressions)s THEN 'true' ELSE 'false' END"
        return super().as_sql(compiler, connection, template=template, **context)


class AsTimestampText(Func):
    """A timestamp as text in UTC: 2026-12-01T09:00:00Z, with microseconds unless they are zero."""

    template = (
        "replace(to_char(%(expressions)s AT TIME ZONE 'UTC',"
        """ 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '.000000Z', 'Z')"""
    )
    output_field = TextField()

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: str | None
    ) -> SqlAndParams:
        template = "replace(%(expressions)s, ' ', 'T') || 'Z'"
        return super().as_sql(compiler, connection, template=template, **context)


class MiddleOfDay(Func):
    """The second before noon of a day, in UTC, as a timestamp. See Task.due."""

    template = "((%(expressions)s + time '11:59:59') AT TIME ZONE 'UTC')"
    output_field = models.DateTimeField()

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: str | None
    ) -> SqlAndParams:
        template = "(%(expressions)s || ' 11:59:59')"
        return super().as_sql(compiler, connection, template=template, **context)


class ConcatenatedText(Func):
    """Texts and numbers, joined by the text `separator`.

    The separator is written into the SQL, because PostgreSQL cannot infer the type of a parameter
    in concat().
    """

    output_field = TextField()

    def __init__(self, *parts: SqlExpression | str, separator: str) -> None:
        self.separator = separator
        super().__init__(*parts)

    def as_sql(
        self,
        compiler: SQLCompiler,
        connection: BaseDatabaseWrapper,
        *args: str | None,
        **context: str | None,
    ) -> SqlAndParams:
        template, joiner = "concat(%(expressions)s)", f", '{self.separator}', "
        if connection.vendor == "sqlite":
            template, joiner = "(%(expressions)s)", f" || '{self.separator}' || "
        return super().as_sql(compiler, connection, template=template, arg_joiner=joiner)
