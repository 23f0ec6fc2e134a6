"""
Responses that the database builds: from a schema and a queryset to JSON text.

`JsonBuilder(TaskResponse, key=…)` states once how each field of the schema is read. A field without
an expression is the column of that name, and a nested schema is the row of that foreign key. The
text is sent to the client as it is: no objects are made, nothing is validated or encoded again.
test_documents.py compares each result with what pydantic makes of the same row.

A builder also makes a fingerprint for the ETag of the response: the versions of all rows in it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import date, datetime
from types import UnionType
from typing import Annotated, Any, TypeAlias, Union, get_args, get_origin

from django.db import models
from django.db.models import Case, F, When
from pydantic import BaseModel
from pydantic.fields import FieldInfo

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
from taskflow.db.types import SqlExpression

JSON_CONTENT_TYPE = "application/json; charset=utf-8"


class JsonBuilder:
    """Builds the JSON of a schema from the rows of a model, as an SQL expression.

    `expressions` are given by the names of the schema's fields. Fields in `without` are left out of
    the JSON; the caller adds them.
    """

    def __init__(
        self, schema: type[BaseModel], *, without: Collection[str] = (), **expressions: FieldSource
    ) -> None:
        self.schema, self.expressions, self.without = schema, expressions, without

    def only(self, names: Collection[str]) -> JsonBuilder:
        """Return a builder of these fields alone."""
        others = self.schema.model_fields.keys() - {*names}
        return JsonBuilder(self.schema, without=others, **self.expressions)

    def json(self, prefix: str = "") -> JsonObject:
        """Return the expression of the JSON object.

        Its row is the one that the lookup `prefix` leads to, such as `assignee__`; by default the
        row of the queryset.
        """
        return JsonObject(
            **{n: self._field_expression(n, f.annotation, prefix) for n, f in self._fields()}
        )

    def fingerprint(self) -> AsText:
        """Return the expression of a text that changes whenever the JSON changes."""
        return AsText(JsonArray(*self._version_expressions()))

    def _fields(self) -> Iterator[tuple[str, FieldInfo]]:
        """Yield the fields of the JSON with their names."""
        for name, field in self.schema.model_fields.items():
            if name not in self.without:
                yield name, field

    def _field_expression(self, name: str, annotation: object, prefix: str) -> SqlExpression:
        field_type = _without_optional(annotation)
        if name in self.expressions:
            return _given_expression(self.expressions[name], field_type)
        path = f"{prefix}{name}"
        if _is_schema(field_type):
            related = JsonBuilder(field_type).json(f"{path}__")
            exists = When(**{f"{path}__isnull": False}, then=related)
            return Case(exists, default=None, output_field=JsonText())
        if field_type is datetime:
            return AsTimestampText(F(path))
        if field_type is date:
            return AsText(F(path))
        if field_type is bool:
            return AsJsonBoolean(F(path))
        return AsJson(F(path)) if get_origin(field_type) in (dict, list) else F(path)

    def _version_expressions(self) -> Iterator[SqlExpression]:
        """Yield what the JSON depends on besides the version of the row itself."""
        for name, field in self._fields():
            field_type = _without_optional(field.annotation)
            if name in self.expressions:
                expression = self.expressions[name]
                if isinstance(expression, JsonListBuilder):
                    yield expression.fingerprint()
                else:
                    yield _given_expression(expression, field_type)
            elif _is_schema(field_type):
                yield F(f"{name}_id")
                yield F(f"{name}__version")


class JsonListBuilder:
    """Builds a JSON array from the rows of a queryset, in its order.

    An item is an object made by a JsonBuilder, or the value of the column that is named.
    """

    def __init__(self, rows: models.QuerySet[models.Model], item: JsonBuilder | str) -> None:
        self.rows, self.item = rows, item

    def json(self) -> JsonList:
        """Return the expression of the JSON array."""
        if isinstance(self.item, str):
            return JsonList(self.rows.values_list(self.item))
        return JsonList(self.rows.annotate(_item=self.item.json()).values_list("_item"))

    def fingerprint(self) -> JsonList:
        """Return the expression of a JSON array that changes whenever the list changes."""
        if isinstance(self.item, str):
            return self.json()
        pair = JsonArray(F("pk"), F("version"))
        return JsonList(self.rows.annotate(_item=pair).values_list("_item"))


FieldSource: TypeAlias = "SqlExpression | JsonListBuilder"  # how a field of the JSON is read


def _given_expression(expression: FieldSource, field_type: object) -> SqlExpression:
    if isinstance(expression, JsonListBuilder):
        return expression.json()
    return AsJsonBoolean(expression) if field_type is bool else expression


def _without_optional(annotation: object) -> Any:
    """Return the type of a field without Annotated[…] and without None."""
    if get_origin(annotation) is Annotated:
        return _without_optional(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        members = get_args(annotation)
        return _without_optional(next(m for m in members if m is not type(None)))
    return annotation


def _is_schema(field_type: object) -> bool:
    return isinstance(field_type, type) and issubclass(field_type, BaseModel)
