"""ORDER BY for lists, and keyset pagination: the rows after a given row, as an index can find them.

An order is a list of model fields, `-` for descending, that ends with `id`, so that no two rows
are equal in it. Nulls come last in both directions. A position is a sequence of values, one for
each field of the order: the values of the last row of the page before.

A Segment is a part of the list that one scan of an index can return in order. An order whose first
field leaves large groups of equal rows is divided into several:

- A nullable field: the rows with a value, and the rows without one in the order of the other
  fields. No index has nulls last in both directions.
- A field of few values, which the model names in `few_values`: for each value, its rows in the
  order of the other fields.

Other fields are expected to leave small groups, which a database sorts one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F, Func, OrderBy, Q, Value
from django.db.models.expressions import CombinedExpression

from taskflow.db.types import Position, SqlAndParams

if TYPE_CHECKING:
    from django.db.models.sql.compiler import SQLCompiler


class Segment(NamedTuple):
    """The rows that fulfil `condition`, to be read with `ordering`."""

    condition: Q
    ordering: list[OrderBy]


def complete_order(order: Sequence[str]) -> list[str]:
    """Return the order with `id` at its end, in the direction of the last field.

    One index then serves both directions. An order that has `id` already is not changed.
    """
    if {"id", "-id"} & set(order):
        return list(order)
    return [*order, "-id" if order[-1].startswith("-") else "id"]


def ordering_of(model: type[models.Model], order: Sequence[str]) -> list[OrderBy]:
    """Return the order as expressions for order_by().

    NULLS LAST is written only for nullable fields: with it no index would serve the order.
    """
    return [
        OrderBy(F(name), descending=is_descending, nulls_last=_is_nullable(model, name) or None)
        for name, is_descending in _fields(order)
    ]


def segments_of(
    model: type[models.Model], order: Sequence[str], position: Position | None = None
) -> list[Segment]:
    """Return the segments of a list, in order. With a position, only the rows after it."""
    ((first, is_descending),) = _fields(order[:1])
    if _is_nullable(model, first):
        return [
            *_segments_with_value(model, order, position),
            *_segments_without_value(model, order, position),
        ]
    # An index of (field, id) has the order of a field of few values that only `id` follows.
    if len(order) > 2 and first in few_values_of(model):
        return _segments_by_value(model, order, is_descending, position)
    condition = Q() if position is None else rows_after(model, order, position)
    return [Segment(condition, ordering_of(model, order))]


def _segments_by_value(
    model: type[models.Model], order: Sequence[str], is_descending: bool, position: Position | None
) -> list[Segment]:
    """Return the segments of each value of the first field, which has few values."""
    first = order[0].removeprefix("-")
    values = _field_values_from(few_values_of(model)[first], is_descending, position)
    return [
        Segment(Q((first, value)) & segment.condition, segment.ordering)
        for number, value in enumerate(values)
        for segment in segments_of(
            model, order[1:], position[1:] if position and not number else None
        )
    ]


def _segments_with_value(
    model: type[models.Model], order: Sequence[str], position: Position | None
) -> list[Segment]:
    """Return the segment of the rows that have a value in the first field.

    Empty if the row at the position has none, because all rows with a value come before it.
    """
    ((first, is_descending),) = _fields(order[:1])
    if position is not None and position[0] is None:
        return []
    condition = Q((f"{first}__isnull", False))
    if position is not None:
        condition &= _rows_after_value(model, order, position)
    # Where all rows have a value, NULLS LAST can be left out.
    ordering = [OrderBy(F(first), descending=is_descending), *ordering_of(model, order[1:])]
    return [Segment(condition, ordering)]


def _segments_without_value(
    model: type[models.Model], order: Sequence[str], position: Position | None
) -> list[Segment]:
    """Return the segments of the rows that have no value in the first field."""
    ((first, is_descending),) = _fields(order[:1])
    others = order[1:]
    position = position[1:] if position and position[0] is None else None
    if len(others) > 1:
        return [
            Segment(Q(IsNullUnindexed(first)) & segment.condition, segment.ordering)
            for segment in segments_of(model, others, position)
        ]
    is_null = Q((f"{first}__isnull", True))
    if position is not None:
        is_null &= rows_after(model, others, position)
    # One index has the field and id. All rows of the segment are equal in the field.
    ordering = [OrderBy(F(first), descending=is_descending), *ordering_of(model, others)]
    return [Segment(is_null, ordering)]


def _field_values_from(
    values: Sequence[int], is_descending: bool, position: Position | None
) -> Iterator[Any]:
    """Yield the values of a field in the direction of the order, beginning at the position.

    The position may be a Parameter, so the values after it are written as distances from it. Some
    of these may be beyond the last value, and then match no row.
    """
    if position is None:
        yield from sorted(values, reverse=is_descending)
        return
    sign, field = "-" if is_descending else "+", models.BigIntegerField()
    yield position[0]
    start = position[0] if hasattr(position[0], "resolve_expression") else Value(position[0])
    for distance in range(1, len(values)):
        yield CombinedExpression(start, sign, Value(distance), output_field=field)


def rows_after(model: type[models.Model], order: Sequence[str], position: Position) -> Q:
    """Return the condition for the rows that come after the position in this order."""
    name, value = order[0].removeprefix("-"), position[0]
    if value is None:
        return Q((f"{name}__isnull", True)) & rows_after(model, order[1:], position[1:])
    after = _rows_after_value(model, order, position)
    return after | Q((f"{name}__isnull", True)) if _is_nullable(model, name) else after


def _rows_after_value(model: type[models.Model], order: Sequence[str], position: Position) -> Q:
    """Return rows_after() without the rows that are null in the first field.

    The position has a value for that field.
    """
    (name, is_descending), *others = _fields(order)
    comparison = "lt" if is_descending else "gt"
    if not others:
        return Q((f"{name}__{comparison}", position[0]))
    if _has_one_direction(model, order):
        names = [field for field, _ in _fields(order)]
        return Q(IsAfter(names, position, is_descending=is_descending))
    equal = Q((name, position[0])) & rows_after(model, order[1:], position[1:])
    # The first condition follows from the second. With it, a database can start to read an index
    # at the position.
    return Q((f"{name}__{comparison}e", position[0])) & (
        Q((f"{name}__{comparison}", position[0])) | equal
    )


def _has_one_direction(model: type[models.Model], order: Sequence[str]) -> bool:
    """Return whether all fields have one direction, and those after the first are never null."""
    directions = {is_descending for _, is_descending in _fields(order)}
    return len(directions) == 1 and not any(_is_nullable(model, n) for n, _ in _fields(order[1:]))


def _fields(order: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """Yield the name of each field, and whether it is descending."""
    return ((name.removeprefix("-"), name.startswith("-")) for name in order)


def few_values_of(model: type[models.Model]) -> Mapping[str, Sequence[int]]:
    """Return all values of each field that has few: consecutive numbers."""
    values: Mapping[str, Sequence[int]] = getattr(model, "few_values", {})
    return values


def _is_nullable(model: type[models.Model], name: str) -> bool:
    return bool(model._meta.get_field(name).null)


class IsNullUnindexed(Func):
    """IS NULL for rows that are read in the order of another field.

    Without the `+` SQLite would find these rows by an index of the field, and sort them: nearly all
    rows of a tenant that does not use the field. A scan of the other index passes over the rows
    with a value. On a first page these are fewer than a page, because they all come before.
    """

    template = "%(expressions)s IS NULL"
    output_field = models.BooleanField()

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: str | None
    ) -> SqlAndParams:
        return super().as_sql(compiler, connection, template="+%(expressions)s IS NULL", **context)


class IsAfter(Func):
    """A comparison of rows, (a, id) > (x, y): one range of an index that has these columns."""

    output_field = models.BooleanField()

    def __init__(self, names: Sequence[str], position: Position, *, is_descending: bool) -> None:
        self.sign = "<" if is_descending else ">"
        self.count = len(names)
        values = [v if hasattr(v, "resolve_expression") else models.Value(v) for v in position]
        super().__init__(*map(F, names), *values)

    def resolve_expression(self, *args: Any, **kwargs: Any) -> Any:
        resolved = super().resolve_expression(*args, **kwargs)
        expressions = resolved.get_source_expressions()
        fields = [column.output_field for column in expressions[: self.count]]
        for value, field in zip(expressions[self.count :], fields, strict=True):
            if isinstance(value, models.Value):
                value.output_field = field
        return resolved

    def as_sql(
        self,
        compiler: SQLCompiler,
        connection: BaseDatabaseWrapper,
        *args: str | None,
        **context: str | None,
    ) -> SqlAndParams:
        compiled = [compiler.compile(e) for e in self.get_source_expressions()]
        columns, values = compiled[: self.count], compiled[self.count :]
        left, right = (", ".join(sql for sql, _ in part) for part in (columns, values))
        params = [param for _, inner_params in compiled for param in inner_params]
        return f"({left}) {self.sign} ({right})", params
