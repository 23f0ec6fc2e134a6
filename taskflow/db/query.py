"""Querysets that are compiled once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from functools import cached_property, lru_cache
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import DEFAULT_DB_ALIAS, connection, models
from django.db.models.base import ModelState

from taskflow.db.statements import Ids, IdsField, Parameter, Statement

MOST_SHAPES = 500  # of one question that are kept


class Query:
    """A queryset with holes, compiled on first use."""

    def __init__(self, queryset: Callable[[], models.QuerySet[Any]]) -> None:
        self.queryset = queryset

    def rows(self, values: Any, *, commit_with: bool = False) -> list[Any]:
        """Values by the names of the holes; `last` if nothing is likely to be asked afterwards."""
        question = self.question
        if question.statement is None:
            return []
        return question.convert(question.statement.run(values, commit_with=commit_with))

    def objects(self, values: Any) -> list[Any]:
        """Rows of the model, with those that select_related() names."""
        return self.question.build(self.rows(values))

    def count(self, values: Any) -> int:
        statement = self.question.statement
        return statement.count(values) if statement else 0

    @cached_property
    def question(self) -> _Question:
        return _Question(self.queryset())


class _Question:
    def __init__(self, queryset: models.QuerySet[Any]) -> None:
        self.compiler = queryset.query.get_compiler(connection=connection)
        self.statement: Statement | None = None  # where nothing can match
        try:
            sql, params = self.compiler.as_sql()
        except EmptyResultSet:
            return
        self.statement = Statement(sql, params)
        selected = [expression for expression, _sql, _alias in self.compiler.select]
        self.converters = self.compiler.get_converters(selected)

    def convert(self, rows: list[Any]) -> list[Any]:
        if not self.converters:
            return rows
        return list(self.compiler.apply_converters(rows, self.converters))

    def build(self, rows: list[Any]) -> list[Any]:
        return [self.maker.make(row) for row in rows]

    @cached_property
    def maker(self) -> _Maker:
        return _Maker(self.compiler.klass_info, self.compiler.select)


class _Maker:
    """Makes objects of rows, with those that select_related() names; as unpickling does, because
    `__init__` costs more than the query.
    """

    def __init__(self, info: Any, select: Any) -> None:
        places = info["select_fields"]
        self.model, self.start, self.end = info["model"], places[0], places[-1] + 1
        self.names = [column[0].target.attname for column in select[self.start : self.end]]
        self.key = self.names.index(self.model._meta.pk.attname)
        self.related = [
            (_Maker(other, select), other["local_setter"], other["remote_setter"])
            for other in info.get("related_klass_infos", ())
        ]

    def make(self, row: Sequence[Any]) -> Any:
        values = row[self.start : self.end]
        if values[self.key] is None:  # nothing there to point at
            return None
        made = self.model.__new__(self.model)
        made.__dict__.update(zip(self.names, values, strict=True))
        made._state = state = ModelState()
        state.adding, state.db = False, DEFAULT_DB_ALIAS
        for maker, set_here, set_there in self.related:
            other = maker.make(row)
            set_here(made, other)
            if other is not None:
                set_there(other, made)
        return made


# ---- many shapes of one question ----------------------------------------------------------------

FIELDS: Mapping[type, Callable[[], models.Field[Any, Any]]] = {
    int: models.BigIntegerField,
    str: models.TextField,
    datetime: models.DateTimeField,
    date: models.DateField,
    Ids: IdsField,
}


class QueryCache:
    """A question whose values come in many shapes: compiled once for each.

    `make(*fixed, *asked)` is called with holes in place of the numbers, texts and times in `asked`,
    which are tuples of such; None, booleans and the lengths are its shape.
    """

    def __init__(self, make: Callable[..., models.QuerySet[Any]]) -> None:
        self.make = make
        self.compiled = lru_cache(MOST_SHAPES)(self._compile)

    def rows(self, fixed: tuple[Any, ...], *asked: Any, commit_with: bool = False) -> list[Any]:
        values: list[Any] = []
        return self.compiled(fixed, _shape(asked, values)).rows(values, commit_with=commit_with)

    def objects(self, fixed: tuple[Any, ...], *asked: Any) -> list[Any]:
        values: list[Any] = []
        return self.compiled(fixed, _shape(asked, values)).objects(values)

    def count(self, fixed: tuple[Any, ...], *asked: Any) -> int:
        values: list[Any] = []
        return self.compiled(fixed, _shape(asked, values)).count(values)

    def _compile(self, fixed: tuple[Any, ...], shape: tuple[Any, ...]) -> Query:
        return Query(lambda: self.make(*fixed, *_with_holes(shape, [])))


def _shape(value: Any, values: list[Any]) -> Any:
    """Its form, with types in place of the values, which are added to `values`."""
    kind = type(value)
    if kind in FIELDS:
        values.append(value)
        return kind
    if isinstance(value, tuple):
        parts = [_shape(part, values) for part in value]
        return tuple(parts) if kind is tuple else kind(*parts)
    return value


def _with_holes(shape: Any, holes: list[Parameter]) -> Any:
    if isinstance(shape, type) and shape in FIELDS:
        holes.append(Parameter(len(holes), FIELDS[shape]()))
        return holes[-1]
    if isinstance(shape, tuple):
        parts: Sequence[Any] = [_with_holes(part, holes) for part in shape]
        kind: Any = type(shape)
        return tuple(parts) if kind is tuple else kind(*parts)
    return shape
