"""The order of a list, and the rows behind a given one, in forms that an index can serve.

An order is a list of model fields, `-` for descending, that ends with `id`, so that no two rows
are equal in it. Nulls come last in both directions. A Segment is a part of the list that one walk
along an index can give. An order whose first field leaves large groups of equal rows is divided:

- A nullable field: the rows with a value, and the rows without one in the order of the other
  fields. No index has nulls last in both directions.
- A field of few values, which the model names in `few_values`: for each value, its rows in the
  order of the other fields.

Other fields are expected to leave small groups, which a database sorts one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from django.db import models
from django.db.models import F, Func, OrderBy, Q, Value
from django.db.models.expressions import CombinedExpression


class Segment(NamedTuple):
    condition: Q
    ordering: list[OrderBy]


def complete_order(order: Sequence[str]) -> list[str]:
    """Add `id` in the direction of the last field, so that one index serves both directions."""
    if {"id", "-id"} & set(order):
        return list(order)
    return [*order, "-id" if order[-1].startswith("-") else "id"]


def ordering_of(model: type[models.Model], order: Sequence[str]) -> list[OrderBy]:
    """The order as ORDER BY, for any set of rows.

    NULLS LAST is written only for nullable fields: with it no index would serve the order.
    """
    return [
        OrderBy(F(name), descending=descends, nulls_last=_is_nullable(model, name) or None)
        for name, descends in _fields(order)
    ]


def segments_of(
    model: type[models.Model], order: Sequence[str], place: Sequence[Any] | None = None
) -> list[Segment]:
    """The segments of the list, in order. With the `place` of a row, only what is behind it."""
    ((first, descends),) = _fields(order[:1])
    if _is_nullable(model, first):
        return _with_value(model, order, place) + _without_value(model, order, place)
    if len(order) > 2 and first in few_values_of(
        model
    ):  # an index has a field of few values, and id
        values = _values_in_order(few_values_of(model)[first], descends, place)
        return [
            Segment(Q((first, value)) & segment.condition, segment.ordering)
            for number, value in enumerate(values)
            for segment in segments_of(
                model, order[1:], place[1:] if place and not number else None
            )
        ]
    condition = Q() if place is None else rows_behind(model, order, place)
    return [Segment(condition, ordering_of(model, order))]


def _with_value(
    model: type[models.Model], order: Sequence[str], place: Sequence[Any] | None
) -> list[Segment]:
    """The segment of the rows with a value in the first field; none if all are before `place`."""
    ((first, descends),) = _fields(order[:1])
    if place is not None and place[0] is None:
        return []
    condition = Q((f"{first}__isnull", False))
    if place is not None:
        condition &= _behind_value(model, order, place)
    # Where all rows have a value, NULLS LAST can be left out.
    ordering = [OrderBy(F(first), descending=descends), *ordering_of(model, order[1:])]
    return [Segment(condition, ordering)]


def _without_value(
    model: type[models.Model], order: Sequence[str], place: Sequence[Any] | None
) -> list[Segment]:
    """The segments of the rows that have no value in the first field."""
    ((first, descends),) = _fields(order[:1])
    others, place = order[1:], place[1:] if place and place[0] is None else None
    if len(others) > 1:
        return [
            Segment(Q(IsEmpty(first)) & segment.condition, segment.ordering)
            for segment in segments_of(model, others, place)
        ]
    empty = Q((f"{first}__isnull", True))
    if place is not None:
        empty &= rows_behind(model, others, place)
    # One index has the field and id. All rows are equal in the field.
    return [Segment(empty, [OrderBy(F(first), descending=descends), *ordering_of(model, others)])]


def _values_in_order(
    values: Sequence[int], descends: bool, place: Sequence[Any] | None
) -> Iterator[Any]:
    """The values in the direction of the order, from that of `place` on. There it may be a
    parameter, so the values after it are written as distances, and some may be beyond the last one.
    """
    if place is None:
        yield from sorted(values, reverse=descends)
        return
    sign, field = "-" if descends else "+", models.BigIntegerField()
    yield place[0]
    start = place[0] if hasattr(place[0], "resolve_expression") else Value(place[0])
    for distance in range(1, len(values)):
        yield CombinedExpression(start, sign, Value(distance), output_field=field)


def rows_behind(model: type[models.Model], order: Sequence[str], place: Sequence[Any]) -> Q:
    """The rows that come after the one whose fields have the values of `place`."""
    name, value = order[0].removeprefix("-"), place[0]
    if value is None:
        return Q((f"{name}__isnull", True)) & rows_behind(model, order[1:], place[1:])
    behind = _behind_value(model, order, place)
    return behind | Q((f"{name}__isnull", True)) if _is_nullable(model, name) else behind


def _behind_value(model: type[models.Model], order: Sequence[str], place: Sequence[Any]) -> Q:
    """rows_behind() among the rows that have a value in the first field, as `place` has."""
    (name, descends), *others = _fields(order)
    step = "lt" if descends else "gt"
    if not others:
        return Q((f"{name}__{step}", place[0]))
    if _is_one_way(model, order):
        return Q(IsBehind([field for field, _ in _fields(order)], place, descends=descends))
    equal = Q((name, place[0])) & rows_behind(model, order[1:], place[1:])
    # The first condition says nothing new; by it an index finds where to begin.
    return Q((f"{name}__{step}e", place[0])) & (Q((f"{name}__{step}", place[0])) | equal)


def _is_one_way(model: type[models.Model], order: Sequence[str]) -> bool:
    """Whether all fields have one direction, and those behind the first are never null."""
    directions = {descends for _, descends in _fields(order)}
    return len(directions) == 1 and not any(_is_nullable(model, n) for n, _ in _fields(order[1:]))


def _fields(order: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """Each field with whether it descends."""
    return ((name.removeprefix("-"), name.startswith("-")) for name in order)


def few_values_of(model: type[models.Model]) -> Mapping[str, Sequence[int]]:
    """Of fields with few values, all of them: numbers without a gap."""
    values: Mapping[str, Sequence[int]] = getattr(model, "few_values", {})
    return values


def _is_nullable(model: type[models.Model], name: str) -> bool:
    return bool(model._meta.get_field(name).null)


class IsEmpty(Func):
    """IS NULL for rows that are read in the order of another field.

    Without the `+` SQLite would find these rows by an index of the field, and sort them: nearly all
    rows of a tenant that does not use the field. A walk along the other index passes over the rows
    with a value. On a first page these are fewer than a page, because they all come before.
    """

    template = "%(expressions)s IS NULL"
    output_field = models.BooleanField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return super().as_sql(compiler, connection, template="+%(expressions)s IS NULL", **context)


class IsBehind(Func):
    """A comparison of rows, (a, id) > (x, y): one range of an index that has these columns."""

    output_field = models.BooleanField()

    def __init__(self, names: Sequence[str], values: Sequence[Any], *, descends: bool) -> None:
        self.sign = "<" if descends else ">"
        self.count = len(names)
        parameters = [v if hasattr(v, "resolve_expression") else models.Value(v) for v in values]
        super().__init__(*map(F, names), *parameters)

    def resolve_expression(self, *args: Any, **kwargs: Any) -> Any:
        resolved = super().resolve_expression(*args, **kwargs)
        expressions = resolved.get_source_expressions()
        fields = [column.output_field for column in expressions[: self.count]]
        for value, field in zip(expressions[self.count :], fields, strict=True):
            if isinstance(value, models.Value):
                value.output_field = field
        return resolved

    def as_sql(self, compiler: Any, connection: Any, *args: Any, **context: Any) -> Any:
        compiled = [compiler.compile(e) for e in self.get_source_expressions()]
        columns, values = compiled[: self.count], compiled[self.count :]
        left, right = (", ".join(sql for sql, _ in part) for part in (columns, values))
        params = [param for _, found in compiled for param in found]
        return f"({left}) {self.sign} ({right})", params
