"""The order of a list, and the rows behind a given one, in forms that an index can serve.

An order is a list of model fields, `-` for descending, that ends with `id`, so that no two rows
are equal in it. Nulls come last in both directions. A Segment is a part of the list that one walk
along an index can give: no index has nulls last in both directions, so an order that begins with a
nullable field has two segments, the rows with a value and the rows without one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from django.db import models
from django.db.models import F, Func, OrderBy, Q


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
    first = order[0].removeprefix("-")
    if not _is_nullable(model, first):
        condition = Q() if place is None else rows_behind(model, order, place)
        return [Segment(condition, ordering_of(model, order))]
    # Among rows that all have a value, or all have none, NULLS LAST can be left out.
    ordering = [
        OrderBy(F(first), descending=order[0].startswith("-")),
        *ordering_of(model, order[1:]),
    ]
    valued, empty = Q((f"{first}__isnull", False)), Q((f"{first}__isnull", True))
    if place is None:
        return [Segment(valued, ordering), Segment(empty, ordering)]
    if place[0] is None:
        return [Segment(empty & rows_behind(model, order[1:], place[1:]), ordering)]
    valued &= _behind_value(model, order, place)
    return [Segment(valued, ordering), Segment(empty, ordering)]


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


def _is_nullable(model: type[models.Model], name: str) -> bool:
    return bool(model._meta.get_field(name).null)


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
