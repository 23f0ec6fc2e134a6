"""
Responses that the database builds: from a schema and a queryset to JSON text.

`JsonBuilder(TaskResponse, key=…)` states once how each field of the schema is read. A field without
an expression is the column of that name, and a nested schema is the row of that foreign key. The
text is sent to the client as it is: no objects are made, nothing is validated or encoded again.
test_documents.py compares each document with what pydantic makes of the same row.

A document also has a fingerprint, for its ETag: the versions of all rows that it shows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import date, datetime
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from django.db import models
from django.db.models import Case, F, When
from pydantic import BaseModel

from taskflow.db.expressions import (
    AsJson,
    AsJsonBoolean,
    AsText,
    AsTimestampText,
    JsonArray,
    JsonList,
    JsonObject,
    JsonText,
)

JSON_CONTENT_TYPE = "application/json; charset=utf-8"


class JsonBuilder:
    """How a schema is read from the rows of a model. `given` are expressions by field. The fields
    `without` are left out, and the caller adds them.
    """

    def __init__(
        self, schema: type[BaseModel], *, without: Collection[str] = (), **given: Any
    ) -> None:
        self.schema, self.given, self.without = schema, given, without

    def json(self, prefix: str = "") -> Any:
        """Return the document as an expression, of the row that the lookup `prefix` leads to."""
        fields = {n: f for n, f in self.schema.model_fields.items() if n not in self.without}
        return JsonObject(**{n: self._field(n, f.annotation, prefix) for n, f in fields.items()})

    def fingerprint(self) -> Any:
        """Return the fingerprint as an expression. It changes when the document does."""
        return AsText(JsonArray(*self._versions("")))

    def _field(self, name: str, annotation: Any, prefix: str) -> Any:
        kind = _bare_type(annotation)
        if name in self.given:
            expression = self.given[name]
            if isinstance(expression, JsonListBuilder):
                return expression.json()
            return AsJsonBoolean(expression) if kind is bool else expression
        path = f"{prefix}{name}"
        if _is_schema(kind):
            inner = JsonBuilder(kind).json(f"{path}__")
            there = When(**{f"{path}__isnull": False}, then=inner)
            return Case(there, default=None, output_field=JsonText())
        if kind is datetime:
            return AsTimestampText(F(path))
        if kind is date:
            return AsText(F(path))
        if kind is bool:
            return AsJsonBoolean(F(path))
        return AsJson(F(path)) if get_origin(kind) is dict else F(path)

    def _versions(self, prefix: str) -> Iterator[Any]:
        for name, field in self.schema.model_fields.items():
            kind = _bare_type(field.annotation)
            if name in self.given:
                expression = self.given[name]
                is_list = isinstance(expression, JsonListBuilder)
                yield (
                    expression.fingerprint()
                    if is_list
                    else AsJsonBoolean(expression)
                    if kind is bool
                    else expression
                )
            elif _is_schema(kind):
                yield F(f"{prefix}{name}_id")
                yield F(f"{prefix}{name}__version")


class JsonListBuilder:
    """A list in a document: the rows of a queryset, in its order, as documents or one column."""

    def __init__(self, rows: models.QuerySet[Any], document: JsonBuilder | str) -> None:
        self.rows, self.document = rows, document

    def json(self) -> Any:
        if isinstance(self.document, str):
            return JsonList(self.rows.values_list(self.document))
        return JsonList(self.rows.annotate(_item=self.document.json()).values_list("_item"))

    def fingerprint(self) -> Any:
        if isinstance(self.document, str):
            return self.json()
        pair = JsonArray(F("pk"), F("version"))
        return JsonList(self.rows.annotate(_item=pair).values_list("_item"))


def _bare_type(annotation: Any) -> Any:
    """Return the type without Annotated and None."""
    if get_origin(annotation) is Annotated:
        return _bare_type(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return _bare_type(next(a for a in get_args(annotation) if a is not type(None)))
    return annotation


def _is_schema(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
