"""Pages of a list, by cursor or by skip and limit.

Cursors use keyset pagination: a cursor holds the position of the last row of its page, so that no
row is repeated or left out while others write. See taskflow/db/ordering.py for positions. A cursor
also holds a fingerprint of the filters. With other filters it would leave rows out in silence, so
it is refused.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Generic, Literal, TypedDict, TypeVar

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from pydantic import Field

from taskflow.db.expressions import AsText
from taskflow.db.json import JsonBuilder
from taskflow.db.ordering import complete_order, few_values_of, ordering_of, rows_after
from taskflow.db.page_query import PageQuery, Partitions
from taskflow.db.query import QueryCache
from taskflow.db.statements import Parameter
from taskflow.db.types import Position, Row
from taskflow.db.viewer import Viewer
from taskflow.http.errors import Invalid, InvalidCursor
from taskflow.http.schema import MAX_ID, In, Out, WholeNumber, check_timestamp, is_unstorable
from taskflow.http.validation import suggest

MAX_CURSOR_LENGTH = 5000  # characters; it may hold a title of 500, whatever their script
WRONG_CURSOR = (
    "The cursor is not one of this list with these filters in this order. Start again without it."
)
T = TypeVar("T")
M = TypeVar("M", bound=models.Model)


class PageParams(In):
    """The query parameters of every list: which part of it to return."""

    limit: WholeNumber = Field(50, ge=1, le=200, description="Rows per page.")
    cursor: str | None = Field(
        None, max_length=MAX_CURSOR_LENGTH, description="`next_cursor` of the previous page."
    )
    skip: WholeNumber = Field(
        0, ge=0, le=10_000, description="Rows to leave out; a cursor is cheaper."
    )
    include: Literal["count"] | None = Field(
        None, description="`count`: also count all rows that match."
    )


class ListResponse(Out, Generic[T]):
    """A page of a list. The response of every list has these fields."""

    data: list[T] = Field(description="The rows of this page.")
    next_cursor: str | None = Field(description="Pass it as `cursor` to get the next page.")
    has_more: bool = Field(description="Whether another page follows.")
    count: int | None = Field(description="All rows that match, when `include=count`; else null.")


NO_FILTERS = PageParams.model_fields.keys() | {"sort"}  # parameters that select no rows


class PageContents(TypedDict, Generic[T]):
    """The values of a ListResponse, when its rows are objects."""

    data: list[T]
    next_cursor: str | None
    has_more: bool
    count: int | None


def paginate(
    rows: models.QuerySet[M], params: PageParams, *, order: Sequence[str]
) -> PageContents[M]:
    """Return the contents of a page of `rows` in `order`, with nulls last.

    `order` names model fields, with `-` for descending. One query, and another one with
    include=count. Raises InvalidCursor when the cursor was not made by this list in this order.
    """
    order = complete_order(order)
    total = rows.count() if params.include == "count" else None
    ordered = rows.order_by(*ordering_of(rows.model, order))
    if params.cursor is not None:
        position = _decode_cursor(rows.model, order, params.cursor, _fingerprint(params))
        ordered = ordered.filter(rows_after(rows.model, order, position))
    # One row more than the page has shows whether another page follows.
    loaded = list(ordered[params.skip : params.skip + params.limit + 1])
    page, has_more = loaded[: params.limit], len(loaded) > params.limit
    cursor = None
    if has_more:
        position = _position_of(page[-1], order)
        cursor = _encode_cursor(rows.model, order, position, _fingerprint(params))
    return {"data": page, "next_cursor": cursor, "has_more": has_more, "count": total}


FilterValues = Mapping[str, object]  # by the names of the filters


@dataclass(frozen=True)
class BuiltPage:
    """A ListResponse whose rows are JSON texts already.

    `extra_columns` are the values of the list's extra columns for each row. `envelope` holds the
    other fields of the ListResponse.
    """

    rows: list[str]
    extra_columns: list[Row]
    envelope: dict[str, object]

    @property
    def is_empty(self) -> bool:
        return not self.rows

    def as_text(self) -> str:
        """Return the page as JSON."""
        return f'{{"data":[{",".join(self.rows)}],{json.dumps(self.envelope)[1:]}'


class ListQuery:
    """A list whose pages the database builds.

    `rows(viewer, filters)` returns the matching rows; `filters` are values by the names of filters.
    `build(viewer)` returns the builder of each row's JSON. The values of `extra_columns` come with
    each row, outside its JSON. `partitions(viewer, filters, order)` returns the partitions of the
    list, or None where it is better read as a whole. `is_of_one_partition(filters)` returns whether
    all rows are in one partition.
    """

    def __init__(
        self,
        model: type[models.Model],
        rows: Callable[[Viewer, FilterValues], models.QuerySet[models.Model]],
        build: Callable[[Viewer], JsonBuilder],
        *,
        extra_columns: Sequence[str] = (),
        partitions: Callable[[Viewer, FilterValues, Sequence[str]], Partitions | None]
        | None = None,
        is_of_one_partition: Callable[[FilterValues], bool] | None = None,
    ) -> None:
        self.model, self.rows, self.build, self.extra_columns = model, rows, build, extra_columns
        self.partitions = partitions
        self.is_of_one_partition = is_of_one_partition
        self.page_queries = QueryCache(self._select_page)
        self.count_queries = QueryCache(self._select_all)

    def page(
        self, viewer: Viewer, filters: FilterValues, params: PageParams, order: Sequence[str]
    ) -> BuiltPage:
        """Return one page in `order`. See paginate()."""
        order = complete_order(order)
        names, values = tuple(filters), tuple(filters.values())
        position = total = None
        if params.cursor is not None:
            fingerprint = _fingerprint(params, filters)
            position = tuple(_decode_cursor(self.model, order, params.cursor, fingerprint))
        if params.include == "count":
            total = self.count_queries.count((names,), viewer, values)
        variant = (names, tuple(order), params.limit + 1, _next_power_of_two(params.skip))
        arguments = (viewer, values, position, params.skip or None)
        # A list with extra columns needs further queries before the COMMIT.
        is_last_query = not self.extra_columns
        loaded = self.page_queries.fetch(variant, *arguments, commit_with=is_last_query)
        page, has_more = loaded[: params.limit], len(loaded) > params.limit
        last_position = page[-1][-len(order) :] if has_more else None
        cursor = None
        if last_position:
            fingerprint = _fingerprint(params, filters)
            cursor = _encode_cursor(self.model, order, last_position, fingerprint)
        return BuiltPage(
            rows=[row[0] for row in page],
            extra_columns=[row[1 : -len(order)] for row in page],
            envelope={"next_cursor": cursor, "has_more": has_more, "count": total},
        )

    def _select_all(
        self, names: tuple[str, ...], viewer: Viewer, values: Sequence[object]
    ) -> models.QuerySet[models.Model, Row]:
        filters = dict(zip(names, values, strict=True))
        partitions = self.partitions and self.partitions(viewer, filters, ["id"])
        rows = partitions.all_rows() if partitions else self.rows(viewer, filters)
        return rows.order_by().values_list("pk")

    def _select_page(
        self,
        names: tuple[str, ...],
        order: tuple[str, ...],
        limit: int,
        max_skip: int,
        viewer: Viewer,
        values: Sequence[object],
        position: Position | None,
        skip: int | Parameter | None,
    ) -> models.QuerySet[models.Model, Row]:
        filters = dict(zip(names, values, strict=True))
        page = PageQuery(
            visible=self.rows(viewer, {}),
            matching=self.rows(viewer, filters),
            partitions=self.partitions and self.partitions(viewer, filters, order),
            is_of_one_partition=bool(
                self.is_of_one_partition and self.is_of_one_partition(filters)
            ),
            order=order,
            limit=limit,
            position=position,
            skip=skip,
            max_skip=max_skip,
        )
        rows = page.rows().annotate(_json=AsText(self.build(viewer).json()))
        columns = [*self.extra_columns, *(name.removeprefix("-") for name in order)]
        selected: models.QuerySet[models.Model, Row] = rows.values_list("_json", *columns)
        return selected


def _next_power_of_two(skip: int) -> int:
    """Return the least power of two that is not below `skip`; 0 for 0.

    The SQL of a page depends on it, so rounding keeps the number of different queries small.
    """
    return 1 << (skip - 1).bit_length() if skip else 0


def paginate_models(
    rows_by_type: Mapping[str, models.QuerySet[models.Model]],
    params: PageParams,
    *,
    time_field: str,
) -> PageContents[tuple[str, models.Model]]:
    """Return the contents of a page of (resource type, row), the latest `time_field` first.

    The rows are of several models. One query per model, and another one with include=count. Raises
    InvalidCursor when the cursor is not of such a list.
    """
    position = None
    if params.cursor is not None:
        position = _decode_typed_position(params.cursor, time_field + _fingerprint(params))
    end = params.skip + params.limit
    loaded: list[tuple[str, models.Model]] = []
    for resource_type, rows in rows_by_type.items():
        after = rows.filter(_after(resource_type, position, time_field)) if position else rows
        newest = after.order_by(f"-{time_field}", "-id")[: end + 1]
        loaded += [(resource_type, row) for row in newest]
    loaded.sort(key=lambda pair: (-getattr(pair[1], time_field).timestamp(), pair[0], -pair[1].pk))
    page, has_more = loaded[params.skip : end], len(loaded) > end
    cursor = None
    if has_more:
        resource_type, row = page[-1]
        time = getattr(row, time_field).isoformat()
        cursor = _encode_values([time_field + _fingerprint(params), time, resource_type, row.pk])
    is_counted = params.include == "count"
    return {
        "data": page,
        "next_cursor": cursor,
        "has_more": has_more,
        "count": sum(rows.count() for rows in rows_by_type.values()) if is_counted else None,
    }


def _decode_typed_position(cursor: str, list_name: str) -> tuple[datetime, str, int]:
    """Return the time, resource type and id of a cursor of paginate_models()."""
    name, time, resource_type, pk = _decode_values(cursor, 4)
    try:
        is_valid_id = type(pk) is int and abs(pk) <= MAX_ID
        if name != list_name or not isinstance(resource_type, str) or not is_valid_id:
            raise ValueError
        return check_timestamp(datetime.fromisoformat(time)), resource_type, pk
    except (ValueError, TypeError, OverflowError):
        raise InvalidCursor(WRONG_CURSOR) from None


def _after(resource_type: str, position: tuple[datetime, str, int], time_field: str) -> Q:
    """Return the condition for the rows of a resource type that come after the position."""
    time, last_type, pk = position
    is_older = Q((f"{time_field}__lt", time))
    if resource_type < last_type:
        return is_older
    same_time = Q((time_field, time))
    if resource_type == last_type:
        same_time &= Q(("id__lt", pk))
    return is_older | same_time


def read_sort(text: str | None, *, default: Sequence[str], allowed: Mapping[str, str]) -> list[str]:
    """Turn `-priority,due_date` into model fields. Raises Invalid for a name not in `allowed`."""
    if not text:
        return list(default)
    names = text.split(",")
    if unknown := [n for n in names if n.removeprefix("-") not in allowed]:
        hint = suggest(unknown[0].removeprefix("-"), allowed)
        raise Invalid.parameter("sort", f"This list cannot be sorted by “{unknown[0]}”.{hint}")
    if len({n.removeprefix("-") for n in names}) < len(names):
        raise Invalid.parameter("sort", "“sort” has a name twice. Send each name once.")
    return ["-" * n.startswith("-") + allowed[n.removeprefix("-")] for n in names]


# ---- cursors ------------------------------------------------------------------------------------


def _position_of(row: models.Model, order: Sequence[str]) -> Position:
    """Return the values of the fields by which a list is ordered."""
    return [getattr(row, name.removeprefix("-")) for name in order]


def _fingerprint(params: PageParams, filters: FilterValues | None = None) -> str:
    """Return a text that differs for other filters; empty without any.

    The filters are those that were sent, and the ids in `filters` that the path names.
    """
    sent = {n: v for n, v in params.sent_fields().items() if n not in NO_FILTERS}
    in_path = {n: v for n, v in (filters or {}).items() if n not in sent and type(v) is int}
    if not (sent or in_path):
        return ""
    text = json.dumps([sent, in_path], default=str, sort_keys=True)
    return ":" + hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _encode_cursor(
    model: type[models.Model], order: Sequence[str], position: Position, fingerprint: str
) -> str:
    values = [value.isoformat() if isinstance(value, date) else value for value in position]
    return _encode_values([_list_name(model, order) + fingerprint, *values])


def _decode_cursor(
    model: type[models.Model], order: Sequence[str], cursor: str, fingerprint: str
) -> Position:
    """Return the position that the cursor holds. Raises InvalidCursor if it is of another list."""
    name, *values = _decode_values(cursor, len(order) + 1)
    try:
        fields = [model._meta.get_field(name.removeprefix("-")) for name in order]
        if name != _list_name(model, order) + fingerprint or any(
            isinstance(value, list | dict | bool) for value in values
        ):
            raise ValueError
        position = [_parse_value(f, v) for f, v in zip(fields, values, strict=True)]
        _check_few_values(model, order, position)
        return position
    except (ValueError, TypeError, ValidationError, OverflowError):
        raise InvalidCursor(WRONG_CURSOR) from None


def _check_few_values(model: type[models.Model], order: Sequence[str], position: Position) -> None:
    """Raise ValueError for a value that a field of few values never has.

    The query computes the values that follow, and none follows one beyond the last.
    """
    few_values = few_values_of(model)
    for name, value in zip(order, position, strict=True):
        values = few_values.get(name.removeprefix("-"))
        if values is not None and value not in values:
            raise ValueError("is not one of the few values")


def _list_name(model: type[models.Model], order: Sequence[str]) -> str:
    """Return the name of a list and its order, which a cursor is valid for."""
    return f"{model._meta.model_name}:{','.join(order)}"


def _encode_values(values: list[Any]) -> str:
    text = json.dumps(values, separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode_values(cursor: str, length: int) -> list[Any]:
    """Return the values of _encode_values(). Raises InvalidCursor unless there are `length`."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        values = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, RecursionError):
        raise InvalidCursor(WRONG_CURSOR) from None
    if not isinstance(values, list) or len(values) != length:
        raise InvalidCursor(WRONG_CURSOR)
    return values


def _parse_value(field: Any, value: object) -> object:
    """Return the value of a column. Raises ValueError or ValidationError if no row can have it.

    Cursors can be forged, and the database would fail for such a value.
    """
    value = getattr(field, "output_field", field).to_python(value)  # of a generated column
    if value is None and not field.null:
        raise ValueError("must not be null")
    if isinstance(value, int) and abs(value) > MAX_ID:
        raise ValueError("does not fit 64 bits")
    if isinstance(value, str) and is_unstorable(value):
        raise ValueError("is a text that cannot be stored")
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("has no time zone")
        return check_timestamp(value)
    return value
