"""Querysets that are compiled once and run many times."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from functools import cached_property, lru_cache
from typing import Any, Generic, TypeVar

from django.core.exceptions import EmptyResultSet
from django.db import DEFAULT_DB_ALIAS, connection, models
from django.db.models.base import ModelState
from django.db.models.expressions import Col
from pydantic_core import from_json

from taskflow.db.statements import IdArray, IdArrayField, Parameter, Statement
from taskflow.db.types import AnyField, ParameterValues, Row

M = TypeVar("M", bound=models.Model)  # the model of the queryset
BuildFunction = Callable[..., models.QuerySet[M, object]]  # its rows may be those of values()

MAX_VARIANTS = 500  # compiled queries that one QueryCache keeps


class Query(Generic[M]):
    """A queryset with Parameters, which `build()` returns. It is compiled at its first use."""

    def __init__(self, build: Callable[[], models.QuerySet[M, object]]) -> None:
        self.build = build

    def fetch(self, values: ParameterValues, *, commit_with: bool = False) -> list[Row]:
        """Return the rows as tuples. `values` holds the values of the parameters, by their names.

        With `commit_with` the COMMIT may be sent together with the query: see allow_early_commit().
        """
        compiled = self.compiled
        if compiled.statement is None:
            return []
        rows = compiled.statement.run(values, commit_with=commit_with)
        return compiled.convert(rows) if compiled.converters else rows

    def fetch_objects(self, values: ParameterValues) -> list[M]:
        """Return the rows as objects of the model, with the related rows of select_related()."""
        object_builder = self.compiled.object_builder
        return [object_builder.build(row) for row in self.fetch(values)]

    def count(self, values: ParameterValues) -> int:
        """Return the number of rows. Slower than fetch(), since the statement is not prepared."""
        statement = self.compiled.statement
        return statement.count(values) if statement else 0

    @cached_property
    def compiled(self) -> _Compiled:
        return _Compiled(self.build())


class _Compiled:
    """The SQL of a queryset, and how its rows are converted."""

    def __init__(self, queryset: models.QuerySet[models.Model, object]) -> None:
        self.compiler = queryset.query.get_compiler(connection=connection)
        self.statement: Statement | None = None  # stays None if no row can match
        self.converters: Any = None
        try:
            sql, params = self.compiler.as_sql()
        except EmptyResultSet:
            return
        self.statement = Statement(sql, params)
        selected = [expression for expression, _sql, _alias in self.compiler.select]
        self.converters = self.compiler.get_converters(selected)
        for position, (functions, expression) in self.converters.items():
            if functions == [getattr(expression.output_field, "from_db_value", None)] and (
                isinstance(expression, Col) and type(expression.target) is models.JSONField
            ):
                self.converters[position] = [_read_json], expression

    def convert(self, rows: list[Row]) -> list[Row]:
        """Return the rows with the conversions of their fields applied, as the ORM does it."""
        return list(self.compiler.apply_converters(rows, self.converters))

    @cached_property
    def object_builder(self) -> _ObjectBuilder:
        compiler = self.compiler
        return _ObjectBuilder(compiler.klass_info, compiler.select, compiler.annotation_col_map)


def _read_json(text: str | None, *_: object) -> Any:
    """Return the value of a JSON column. Django's own converter makes ten more calls."""
    return None if text is None else from_json(text)


class _ObjectBuilder:
    """Builds model objects from rows, with the related rows that the queryset selects.

    It sets the attributes directly, as unpickling does. `__init__` of a model costs more than the
    query.
    """

    def __init__(
        self, info: Any, select: Any, annotations: Mapping[str, int] | None = None
    ) -> None:
        positions = info["select_fields"]
        self.model, self.start, self.end = info["model"], positions[0], positions[-1] + 1
        self.names = [column[0].target.attname for column in select[self.start : self.end]]
        self.key = self.names.index(self.model._meta.pk.attname)
        self.annotations = list((annotations or {}).items())
        self.related = [
            (_ObjectBuilder(other, select), other["local_setter"], other["remote_setter"])
            for other in info.get("related_klass_infos", ())
        ]

    def build(self, row: Row) -> Any:
        """Return the object, or None if an outer join has found no row."""
        values = row[self.start : self.end]
        if values[self.key] is None:
            return None
        row_object = self.model.__new__(self.model)
        row_object.__dict__ = dict(zip(self.names, values, strict=True))
        for name, column in self.annotations:
            row_object.__dict__[name] = row[column]
        row_object._state = state = ModelState()
        state.adding, state.db = False, DEFAULT_DB_ALIAS
        for object_builder, set_here, set_there in self.related:
            other = object_builder.build(row)
            set_here(row_object, other)
            if other is not None:
                set_there(other, row_object)
        return row_object


# ---- variants of a query ------------------------------------------------------------------------

FIELD_TYPES: Mapping[type, Callable[[], AnyField]] = {
    int: models.BigIntegerField,
    str: models.TextField,
    datetime: models.DateTimeField,
    date: models.DateField,
    IdArray: IdArrayField,
}


class QueryCache(Generic[M]):
    """A query whose SQL depends on some of its arguments. Each variant is compiled once.

    `build(*variant_key, *arguments)` returns the queryset. It is called with Parameters in place of
    the numbers, texts and times in the arguments, also of those inside tuples and named tuples. A
    variant is determined by the variant_key and, in the arguments, by None, booleans and the
    lengths of tuples. At most `max_variants` are kept.
    """

    def __init__(self, build: BuildFunction[M], *, max_variants: int = MAX_VARIANTS) -> None:
        self.build = build
        self.queries = lru_cache(max_variants)(self._compile)

    def fetch(
        self, variant_key: tuple[object, ...], *arguments: object, commit_with: bool = False
    ) -> list[Row]:
        """See Query.fetch()."""
        values: list[object] = []
        query = self.queries(variant_key, _variant_of(arguments, values))
        return query.fetch(values, commit_with=commit_with)

    def fetch_objects(self, variant_key: tuple[object, ...], *arguments: object) -> list[M]:
        """See Query.fetch_objects()."""
        values: list[object] = []
        return self.queries(variant_key, _variant_of(arguments, values)).fetch_objects(values)

    def count(self, variant_key: tuple[object, ...], *arguments: object) -> int:
        """See Query.count()."""
        values: list[object] = []
        return self.queries(variant_key, _variant_of(arguments, values)).count(values)

    def _compile(self, variant_key: tuple[object, ...], variant: tuple[object, ...]) -> Query[M]:
        return Query(lambda: self.build(*variant_key, *_with_parameters(variant, [])))


def _variant_of(arguments: tuple[object, ...], values: list[object]) -> Any:
    """Return the arguments with each value replaced by its type. Adds the values to `values`: those
    of inner tuples first.
    """
    # Comprehensions, because this runs at each query: a call for each value would be most of it.
    parts = [
        type(part)
        if type(part) in FIELD_TYPES
        else part
        if part is None or type(part) is bool or not isinstance(part, tuple)
        else _variant_of(part, values)
        for part in arguments
    ]
    values += [part for part in arguments if type(part) in FIELD_TYPES]
    return _tuple_like(arguments, parts)


def _with_parameters(variant: tuple[object, ...], parameters: list[Parameter]) -> Any:
    """Return the variant with each type replaced by a Parameter, which is named by the position of
    its value in `values`.
    """
    parts = [
        _with_parameters(part, parameters) if isinstance(part, tuple) else part for part in variant
    ]
    for position, part in enumerate(parts):
        if isinstance(part, type) and part in FIELD_TYPES:
            parameters.append(Parameter(len(parameters), FIELD_TYPES[part]()))
            parts[position] = parameters[-1]
    return _tuple_like(variant, parts)


def _tuple_like(example: tuple[object, ...], parts: Sequence[object]) -> Any:
    """Return a tuple of the parts, of the same class as the example."""
    if type(example) is tuple:
        return tuple(parts)
    return tuple.__new__(type(example), parts)
