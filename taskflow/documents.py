"""
Answers that the database builds: a schema and a queryset in, JSON text out.

`Document(TaskResponse, key=…)` says once how each field of the schema is read; what is not said is
the column of that name, a nested schema is the row that a foreign key points at. The text passes
through to the caller: no rows are made of it, nothing is validated or encoded again.
test_documents.py builds each document this way and pydantic's, and compares them.

A document has a stamp too: the versions of all rows that it shows, for its ETag. A Reading has
both, compiled once: afterwards a read costs the filling of holes and the database's work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from django.db import connection, models
from django.db.models import Case, F, Func, Subquery, TextField, When
from django.db.models.expressions import BaseExpression, Expression
from pydantic import BaseModel

from taskflow.conditions import etag_of_stamp
from taskflow.errors import NotFound


class Document:
    """How a schema is read from the rows of a model; `given` are expressions by field."""

    def __init__(self, schema: type[BaseModel], **given: Any) -> None:
        self.schema, self.given = schema, given

    def json(self, prefix: str = "") -> Any:
        """The document as an expression, from a row reached by `prefix`."""
        fields = self.schema.model_fields.items()
        return JsonObject(**{n: self._field(n, f.annotation, prefix) for n, f in fields})

    def stamp(self) -> Any:
        """What has to be as it was for the document to be."""
        return Text(JsonArray(*self._versions("")))

    def _field(self, name: str, annotation: Any, prefix: str) -> Any:
        kind = _plain(annotation)
        if name in self.given:
            found = self.given[name]
            if isinstance(found, Items):
                return found.json()
            return Flag(found) if kind is bool else found
        path = f"{prefix}{name}"
        if _is_schema(kind):
            inner = Document(kind).json(f"{path}__")
            there = When(**{f"{path}__isnull": False}, then=inner)
            return Case(there, default=None, output_field=JsonField())
        if kind is datetime:
            return Instant(F(path))
        if kind is date:
            return Text(F(path))
        if kind is bool:
            return Flag(F(path))
        return Json(F(path)) if get_origin(kind) is dict else F(path)

    def _versions(self, prefix: str) -> Iterator[Any]:
        for name, field in self.schema.model_fields.items():
            kind = _plain(field.annotation)
            if name in self.given:
                found = self.given[name]
                is_list = isinstance(found, Items)
                yield found.stamp() if is_list else Flag(found) if kind is bool else found
            elif _is_schema(kind):
                yield F(f"{prefix}{name}_id")
                yield F(f"{prefix}{name}__version")


class Items:
    """A list in a document: the rows of a queryset, in its order."""

    def __init__(self, rows: models.QuerySet[Any], document: Document | str) -> None:
        self.rows, self.document = rows, document

    def json(self) -> Any:
        if isinstance(self.document, str):
            return JsonList(self.rows.values_list(self.document))
        return JsonList(self.rows.annotate(_item=self.document.json()).values_list("_item"))

    def stamp(self) -> Any:
        if isinstance(self.document, str):
            return self.json()
        pair = JsonArray(F("pk"), F("version"))
        return JsonList(self.rows.annotate(_item=pair).values_list("_item"))


def _plain(annotation: Any) -> Any:
    """The type without Annotated and None."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return _plain(next(a for a in get_args(annotation) if a is not type(None)))
    return annotation


def _is_schema(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


# ---- compiled once ------------------------------------------------------------------------------


class Param(Expression):
    """A hole in a queryset that is compiled once."""

    def __init__(self, name: str, output_field: Any = None) -> None:
        super().__init__(output_field=output_field or models.BigIntegerField())
        self.name = name

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        return "%s", [self]


class Compiled:
    """A queryset's SQL, made on first use of each database; the ORM stays the only source of it."""

    def __init__(self, queryset: Callable[[], models.QuerySet[Any]]) -> None:
        self.queryset = queryset
        self.ready: dict[str, tuple[str, list[Any]]] = {}

    def rows(self, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        sql, params = self.ready.get(connection.vendor) or self._compile()
        filled = [
            p.output_field.get_db_prep_value(values[p.name], connection)
            if isinstance(p, Param)
            else p
            for p in params
        ]
        with connection.cursor() as cursor:
            cursor.execute(sql, filled)
            found: list[tuple[Any, ...]] = cursor.fetchall()
            return found

    def _compile(self) -> tuple[str, list[Any]]:
        query = self.queryset().query
        sql, params = query.get_compiler(connection=connection).as_sql()
        self.ready[connection.vendor] = sql, list(params)
        return self.ready[connection.vendor]


class Reading:
    """How to read one row: its document, and its stamp alone. `rows` is a queryset with holes."""

    def __init__(
        self,
        noun: str,
        rows: Callable[[], models.QuerySet[Any]],
        document: Callable[[], Document],
    ) -> None:
        self.noun = noun
        columns = ("pk", "version", "_stamp")
        self.stamps = Compiled(
            lambda: rows().annotate(_stamp=document().stamp()).values_list(*columns)
        )
        self.documents = Compiled(
            lambda: (
                rows()
                .annotate(_stamp=document().stamp(), _document=Text(document().json()))
                .values_list(*columns, "_document")
            )
        )


@dataclass
class Found:
    """A row to answer with. Asked for only when the answer is made; raises NotFound then."""

    reading: Reading
    values: Mapping[str, Any]  # that fill the holes
    otherwise: Callable[[], Found | None] | None = None  # where else it may be

    def etag(self) -> str:
        pk, version, stamp = self._one("stamps")
        return etag_of_stamp(self.reading.noun, pk, version, stamp)

    def read(self) -> tuple[int, str, str]:
        """Its id, its ETag and its document."""
        pk, version, stamp, document = self._one("documents")
        return pk, etag_of_stamp(self.reading.noun, pk, version, stamp), document

    def _one(self, what: str) -> tuple[Any, ...]:
        rows = getattr(self.reading, what).rows(self.values)
        if rows:
            return rows[0]  # type: ignore[no-any-return]
        other = self.otherwise() if self.otherwise else None
        if other is None:
            raise NotFound(f"There is no such {self.reading.noun}.")
        return other._one(what)


# ---- JSON in both databases' SQL ----------------------------------------------------------------


class JsonField(TextField):  # type: ignore[type-arg]
    """JSON that stays text on its way through Python."""


class JsonObject(Func):
    """json_build_object with the keys written out: Django's own sends each as a parameter."""

    output_field = JsonField()

    def __init__(self, **fields: Any) -> None:
        self.keys = list(fields)
        super().__init__(*fields.values())

    def as_sql(self, compiler: Any, connection: Any, *args: Any, **context: Any) -> Any:
        name = "json_build_object" if connection.vendor == "postgresql" else "json_object"
        parts, params = [], []
        for key, expression in zip(self.keys, self.get_source_expressions(), strict=True):
            sql, found = compiler.compile(expression)
            parts.append(f"'{key}', {_as_json(expression, sql, connection)}")
            params += found
        return f"{name}({', '.join(parts)})", params


class JsonArray(Func):
    output_field = JsonField()

    def as_sql(self, compiler: Any, connection: Any, *args: Any, **context: Any) -> Any:
        name = "json_build_array" if connection.vendor == "postgresql" else "json_array"
        parts, params = [], []
        for expression in self.get_source_expressions():
            sql, found = compiler.compile(expression)
            parts.append(_as_json(expression, sql, connection))
            params += found
        return f"{name}({', '.join(parts)})", params


def _as_json(expression: BaseExpression, sql: str, connection: Any) -> str:
    """SQLite forgets on the way that a value is JSON, and would quote it."""
    is_json = isinstance(expression.output_field, JsonField | models.JSONField)
    return f"json({sql})" if is_json and connection.vendor == "sqlite" else sql


class JsonList(Subquery):
    """An array of what the subquery's only column holds."""

    output_field = JsonField()
    template = "(SELECT coalesce(json_agg(j.d), '[]'::json) FROM (%(subquery)s) j(d))"

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        is_json = "_item" in self.query.annotation_select
        item = "json(j.d)" if is_json else "j.d"
        template = f"(WITH j(d) AS (%(subquery)s) SELECT json_group_array({item}) FROM j)"  # noqa: S608 - no value in it
        return super().as_sql(compiler, connection, template=template, **context)


class Text(Func):
    """A value as the text it is: JSON that the driver would parse, a day."""

    template = "(%(expressions)s)::text"
    output_field = TextField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return super().as_sql(compiler, connection, template="%(expressions)s", **context)


class Json(Func):
    """A JSON column as part of a document."""

    template = "%(expressions)s"
    output_field = JsonField()


class Flag(Func):
    """true and false; SQLite has 1 and 0."""

    template = "(%(expressions)s)"
    output_field = JsonField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "CASE WHEN %(expressions)s THEN 'true' ELSE 'false' END"
        return super().as_sql(compiler, connection, template=template, **context)


class Instant(Func):
    """2026-12-01T09:00:00Z, with microseconds where there are any."""

    template = (
        "replace(to_char(%(expressions)s AT TIME ZONE 'UTC',"
        """ 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), '.000000Z', 'Z')"""
    )
    output_field = TextField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "replace(%(expressions)s, ' ', 'T') || 'Z'"
        return super().as_sql(compiler, connection, template=template, **context)


class Joined(Func):
    """Texts and numbers one after the other."""

    function = "concat"
    output_field = TextField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return super().as_sql(
            compiler, connection, template="(%(expressions)s)", arg_joiner=" || ", **context
        )
