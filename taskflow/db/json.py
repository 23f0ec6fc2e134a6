"""
Answers that the database builds: a schema and a queryset in, JSON text out.

`Document(TaskResponse, key=…)` says once how each field of the schema is read; what is not said is
the column of that name, a nested schema is the row that a foreign key points at. The text passes
through to the caller: no rows are made of it, nothing is validated or encoded again.
test_documents.py builds each document this way and pydantic's, and compares them.

A document has a stamp too: the versions of all rows that it shows, for its ETag.
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
    Flag,
    Instant,
    Json,
    JsonArray,
    JsonField,
    JsonList,
    JsonObject,
    Text,
)

JSON = "application/json; charset=utf-8"


class Document:
    """How a schema is read from the rows of a model; `given` are expressions by field. Fields
    `without` are left to who answers.
    """

    def __init__(
        self, schema: type[BaseModel], *, without: Collection[str] = (), **given: Any
    ) -> None:
        self.schema, self.given, self.without = schema, given, without

    def json(self, prefix: str = "") -> Any:
        """The document as an expression, from a row reached by `prefix`."""
        fields = {n: f for n, f in self.schema.model_fields.items() if n not in self.without}
        return JsonObject(**{n: self._field(n, f.annotation, prefix) for n, f in fields.items()})

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
