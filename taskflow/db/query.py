"""Querysets that are compiled once and run many times."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from functools import cached_property, lru_cache
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import DEFAULT_DB_ALIAS, connection, models
from django.db.models.base import ModelState

from taskflow.db.statements import IdArray, IdArrayField, Parameter, Statement

MAX_VARIANTS = 500  # of one QueryCache that are kept


class Query:
    """A queryset with Parameters, compiled at its first use."""

    def __init__(self, make: Callable[[], models.QuerySet[Any]]) -> None:
        self.make = make

    def fetch(self, values: Any, *, commit_with: bool = False) -> list[Any]:
        """Return the rows. `values` are by the names of the parameters.

        With `commit_with` the COMMIT may go along: see allow_early_commit().
        """
        compiled = self.compiled
        if compiled.statement is None:
            return []
        return compiled.convert(compiled.statement.run(values, commit_with=commit_with))

    def fetch_objects(self, values: Any) -> list[Any]:
        """Return the rows as objects of the model, with those that select_related() names."""
        maker = self.compiled.maker
        return [maker.make(row) for row in self.fetch(values)]

    def count(self, values: Any) -> int:
        """Return the number of rows. This is slower than fetch(): it is not prepared."""
        statement = self.compiled.statement
        return statement.count(values) if statement else 0

    @cached_property
    def compiled(self) -> _Compiled:
        return _Compiled(self.make())


class _Compiled:
    def __init__(self, queryset: models.QuerySet[Any]) -> None:
        self.compiler = queryset.query.get_compiler(connection=connection)
        self.statement: Statement | None = None  # where no row can match
        self.converters: Any = None
        try:
            sql, params = self.compiler.as_sql()
        except EmptyResultSet:
            return
        self.statement = Statement(sql, params)
        selected = [expression for expression, _sql, _alias in self.compiler.select]
        self.converters = self.compiler.get_converters(selected)

    def convert(self, rows: list[Any]) -> list[Any]:
        """Apply what the fields do to values that come from the database."""
        if not self.converters:
            return rows
        return list(self.compiler.apply_converters(rows, self.converters))

    @cached_property
    def maker(self) -> _ObjectMaker:
        compiler = self.compiler
        return _ObjectMaker(compiler.klass_info, compiler.select, compiler.annotation_col_map)


class _ObjectMaker:
    """Makes objects from rows, with those that select_related() names. It works as unpickling does,
    because `__init__` of a model costs more than the query.
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
            (_ObjectMaker(other, select), other["local_setter"], other["remote_setter"])
            for other in info.get("related_klass_infos", ())
        ]

    def make(self, row: Sequence[Any]) -> Any:
        """Return the object, or None for the empty side of an outer join."""
        values = row[self.start : self.end]
        if values[self.key] is None:
            return None
        made = self.model.__new__(self.model)
        made.__dict__.update(zip(self.names, values, strict=True))
        for name, column in self.annotations:
            made.__dict__[name] = row[column]
        made._state = state = ModelState()
        state.adding, state.db = False, DEFAULT_DB_ALIAS
        for maker, set_here, set_there in self.related:
            other = maker.make(row)
            set_here(made, other)
            if other is not None:
                set_there(other, made)
        return made


# ---- variants of a query ------------------------------------------------------------------------

FIELDS: Mapping[type, Callable[[], models.Field[Any, Any]]] = {
    int: models.BigIntegerField,
    str: models.TextField,
    datetime: models.DateTimeField,
    date: models.DateField,
    IdArray: IdArrayField,
}


class QueryCache:
    """A query with variants, each compiled once.

    `make(*fixed, *arguments)` returns the queryset. It is called with Parameters in place of the
    numbers, texts and times in the arguments, which may be in tuples and named tuples. What is
    fixed, None, booleans and the lengths of tuples make the variant.
    """

    def __init__(self, make: Callable[..., models.QuerySet[Any]]) -> None:
        self.make = make
        self.variants = lru_cache(MAX_VARIANTS)(self._compile)

    def fetch(
        self, fixed: tuple[Any, ...], *arguments: Any, commit_with: bool = False
    ) -> list[Any]:
        """See Query.fetch()."""
        values: list[Any] = []
        variant = self.variants(fixed, _variant_of(arguments, values))
        return variant.fetch(values, commit_with=commit_with)

    def fetch_objects(self, fixed: tuple[Any, ...], *arguments: Any) -> list[Any]:
        """See Query.fetch_objects()."""
        values: list[Any] = []
        return self.variants(fixed, _variant_of(arguments, values)).fetch_objects(values)

    def count(self, fixed: tuple[Any, ...], *arguments: Any) -> int:
        """See Query.count()."""
        values: list[Any] = []
        return self.variants(fixed, _variant_of(arguments, values)).count(values)

    def _compile(self, fixed: tuple[Any, ...], variant: tuple[Any, ...]) -> Query:
        return Query(lambda: self.make(*fixed, *_with_parameters(variant, [])))


def _variant_of(value: Any, values: list[Any]) -> Any:
    """Return the arguments with types in place of values, which are appended to `values`."""
    kind = type(value)
    if kind in FIELDS:
        values.append(value)
        return kind
    if isinstance(value, tuple):
        parts = [_variant_of(part, values) for part in value]
        return tuple(parts) if kind is tuple else kind(*parts)
    return value


def _with_parameters(variant: Any, parameters: list[Parameter]) -> Any:
    """Return the variant with a Parameter in place of each type, named by its position."""
    if isinstance(variant, type) and variant in FIELDS:
        parameters.append(Parameter(len(parameters), FIELDS[variant]()))
        return parameters[-1]
    if isinstance(variant, tuple):
        parts: Sequence[Any] = [_with_parameters(part, parameters) for part in variant]
        kind: Any = type(variant)
        return tuple(parts) if kind is tuple else kind(*parts)
    return variant
