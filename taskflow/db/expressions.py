"""JSON in both databases' SQL."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Func, Subquery, TextField
from django.db.models.expressions import BaseExpression


class JsonText(TextField):  # type: ignore[type-arg]
    """JSON that stays text on its way through Python."""


class JsonObject(Func):
    """json_build_object with the keys written out: Django's own sends each as a parameter."""

    output_field = JsonText()

    def __init__(self, **fields: Any) -> None:
        self.keys = list(fields)
        super().__init__(*fields.values())

    def as_sql(self, compiler: Any, connection: Any, *args: Any, **context: Any) -> Any:
        name = "json_build_object" if connection.vendor == "postgresql" else "json_object"
        parts, params = [], []
        for key, expression in zip(self.keys, self.get_source_expressions(), strict=True):
            sql, inner_params = compiler.compile(expression)
            parts.append(f"'{key}', {_as_json(expression, sql, connection)}")
            params += inner_params
        return f"{name}({', '.join(parts)})", params


class JsonArray(Func):
    output_field = JsonText()

    def as_sql(self, compiler: Any, connection: Any, *args: Any, **context: Any) -> Any:
        name = "json_build_array" if connection.vendor == "postgresql" else "json_array"
        parts, params = [], []
        for expression in self.get_source_expressions():
            sql, inner_params = compiler.compile(expression)
            parts.append(_as_json(expression, sql, connection))
            params += inner_params
        return f"{name}({', '.join(parts)})", params


def _as_json(expression: BaseExpression, sql: str, connection: Any) -> str:
    """Mark JSON as such for SQLite, which would quote the result of a subquery as text."""
    is_json = isinstance(expression.output_field, JsonText | models.JSONField)
    return f"json({sql})" if is_json and connection.vendor == "sqlite" else sql


class JsonList(Subquery):
    """A JSON array of the values in the only column of a subquery."""

    output_field = JsonText()
    template = "(SELECT coalesce(json_agg(j.d), '[]'::json) FROM (%(subquery)s) j(d))"

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        is_json = "_item" in self.query.annotation_select
        item = "json(j.d)" if is_json else "j.d"
        template = f"(WITH j(d) AS (%(subquery)s) SELECT json_group_array({item}) FROM j)"  # noqa: S608 - no value in it
        return super().as_sql(compiler, connection, template=template, **context)


class AsText(Func):
    """A value as text: JSON, which the driver would parse, or a day."""

    template = "(%(expressions)s)::text"
    output_field = TextField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return super().as_sql(compiler, connection, template="%(expressions)s", **context)


class AsJson(Func):
    """A JSON column as part of a document."""

    template = "%(expressions)s"
    output_field = JsonText()


class AsJsonBoolean(Func):
    """A boolean as true and false, also on SQLite, which has 1 and 0."""

    template = "(%(expressions)s)"
    output_field = JsonText()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "CASE WHEN %(expressions)s THEN 'true' ELSE 'false' END"
        return super().as_sql(compiler, connection, template=template, **context)


class AsTimestampText(Func):
    """A timestamp as 2026-12-01T09:00:00Z, with microseconds where there are any."""

    template = (
        "replace(to_char(%(expressions)s AT TIME ZONE 'UTC',"
        """ 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '.000000Z', 'Z')"""
    )
    output_field = TextField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "replace(%(expressions)s, ' ', 'T') || 'Z'"
        return super().as_sql(compiler, connection, template=template, **context)


class ConcatenatedText(Func):
    """Texts and numbers, joined by the text `separator`.

    The separator is written into the SQL, because PostgreSQL cannot infer the type of a parameter
    in concat().
    """

    output_field = TextField()

    def __init__(self, *parts: Any, separator: str) -> None:
        self.separator = separator
        super().__init__(*parts)

    def as_sql(self, compiler: Any, connection: Any, *args: Any, **context: Any) -> Any:
        template, joiner = "concat(%(expressions)s)", f", '{self.separator}', "
        if connection.vendor == "sqlite":
            template, joiner = "(%(expressions)s)", f" || '{self.separator}' || "
        return super().as_sql(compiler, connection, template=template, arg_joiner=joiner)
