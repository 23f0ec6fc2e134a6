"""Querysets that are compiled once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from functools import cached_property, lru_cache
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import DEFAULT_DB_ALIAS, connection, connections, models
from django.db.models.query import get_related_populators

from taskflow.compiled.statements import Ids, IdsField, Param, Statement

MOST_SHAPES = 500  # of one question that are kept


class Compiled:
    """A queryset with holes, compiled on first use of each database."""

    def __init__(self, queryset: Callable[[], models.QuerySet[Any]]) -> None:
        self.queryset = queryset
        self.ready: dict[str, _Question] = {}

    def rows(self, values: Any, *, skip: int = 0) -> list[Any]:
        """Values by the names of the holes; `skip` for a queryset that has a limit."""
        question = self.question()
        if question.statement is None:
            return []
        return question.convert(question.statement.run(values, skip=skip))

    def objects(self, values: Any) -> list[Any]:
        """Rows of the model, with those that select_related() names."""
        return self.question().build(self.rows(values))

    def count(self, values: Any) -> int:
        statement = self.question().statement
        return statement.count(values) if statement else 0

    def as_execute(self, values: Any) -> bytes | None:
        """As SQL, to be sent with other statements; None where that cannot be done yet."""
        statement = self.question().statement
        return statement.as_execute(values) if statement else None

    def objects_of(self, result: Any) -> list[Any]:
        """What objects() returns, of the result of as_execute()."""
        question = self.question()
        if question.statement is None:
            return []
        return question.build(question.convert(question.statement.read(result)))

    def question(self) -> _Question:
        vendor = connections[DEFAULT_DB_ALIAS].vendor
        found = self.ready.get(vendor)
        if found is None:
            found = self.ready[vendor] = _Question(self.queryset())
        return found


class _Question:
    def __init__(self, queryset: models.QuerySet[Any]) -> None:
        self.compiler = queryset.query.get_compiler(connection=connection)
        self.statement: Statement | None = None  # where nothing can match
        try:
            sql, params = self.compiler.as_sql()
        except EmptyResultSet:
            return
        self.statement = Statement(connection, sql, params)
        selected = [expression for expression, _sql, _alias in self.compiler.select]
        self.converters = self.compiler.get_converters(selected)

    def convert(self, rows: list[Any]) -> list[Any]:
        if not self.converters:
            return rows
        return list(self.compiler.apply_converters(rows, self.converters))

    def build(self, rows: list[Any]) -> list[Any]:
        """As Django's own ModelIterable does."""
        if not rows:
            return []
        start, end, names, populators = self.maker
        model, db = self.compiler.klass_info["model"], DEFAULT_DB_ALIAS
        built = []
        for row in rows:
            built.append(model.from_db(db, names, row[start:end]))
            for populator in populators:
                populator.populate(row, built[-1])
        return built

    @cached_property
    def maker(self) -> tuple[int, int, list[str], list[Any]]:
        info, select = self.compiler.klass_info, self.compiler.select
        start, end = info["select_fields"][0], info["select_fields"][-1] + 1
        names = [column[0].target.attname for column in select[start:end]]
        populators = get_related_populators(info, select, connection.alias)  # type: ignore[call-arg]  # 6.1 has one more
        return start, end, names, populators


# ---- many shapes of one question ----------------------------------------------------------------

FIELDS: Mapping[type, Callable[[], models.Field[Any, Any]]] = {
    int: models.BigIntegerField,
    str: models.TextField,
    datetime: models.DateTimeField,
    date: models.DateField,
    Ids: IdsField,
}


class Shaped:
    """A question whose values come in many shapes: compiled once for each.

    `make(*fixed, *asked)` is called with holes in place of the numbers, texts and times in `asked`,
    which are tuples of such; None, booleans and the lengths are its shape.
    """

    def __init__(self, make: Callable[..., models.QuerySet[Any]]) -> None:
        self.make = make
        self.compiled = lru_cache(MOST_SHAPES)(self._compile)

    def rows(self, fixed: tuple[Any, ...], *asked: Any, skip: int = 0) -> list[Any]:
        values: list[Any] = []
        return self.compiled(fixed, _shape(asked, values)).rows(values, skip=skip)

    def objects(self, fixed: tuple[Any, ...], *asked: Any) -> list[Any]:
        values: list[Any] = []
        return self.compiled(fixed, _shape(asked, values)).objects(values)

    def count(self, fixed: tuple[Any, ...], *asked: Any) -> int:
        values: list[Any] = []
        return self.compiled(fixed, _shape(asked, values)).count(values)

    def _compile(self, fixed: tuple[Any, ...], shape: tuple[Any, ...]) -> Compiled:
        return Compiled(lambda: self.make(*fixed, *_with_holes(shape, [])))


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


def _with_holes(shape: Any, holes: list[Param]) -> Any:
    if isinstance(shape, type) and shape in FIELDS:
        holes.append(Param(len(holes), FIELDS[shape]()))
        return holes[-1]
    if isinstance(shape, tuple):
        parts: Sequence[Any] = [_with_holes(part, holes) for part in shape]
        kind: Any = type(shape)
        return tuple(parts) if kind is tuple else kind(*parts)
    return shape
