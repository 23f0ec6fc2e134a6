"""Pages of a list, by cursor or by skip and limit.

Cursors use keyset pagination: a cursor holds the position of the last row of its page, so that no
row is repeated or left out while others write. A cursor also holds a fingerprint of the filters.
With other filters it would leave rows out in silence, so it is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Generic, Literal, TypedDict, TypeVar

from django.db import models
from django.db.models import Q
from pydantic import Field

from taskflow.db.ordering import complete_order, ordering_of, rows_after
from taskflow.db.types import MAX_ID, Position
from taskflow.http.cursors import (
    WRONG_CURSOR,
    decode_cursor,
    decode_values,
    encode_cursor,
    encode_values,
)
from taskflow.http.errors import Invalid, InvalidCursor
from taskflow.http.schema import In, Out, WholeNumber, check_timestamp
from taskflow.http.validation import suggest

MAX_CURSOR_LENGTH = 5000  # characters; it may hold a title of 500, whatever their script
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


# Parameters that select no rows.
NO_FILTERS = PageParams.model_fields.keys() | {"sort", "fields", "format", "group_by"}


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
        position = decode_cursor(rows.model, order, params.cursor, fingerprint_of(params))
        ordered = ordered.filter(rows_after(rows.model, order, position))
    # One row more than the page has shows whether another page follows.
    loaded = list(ordered[params.skip : params.skip + params.limit + 1])
    page, has_more = loaded[: params.limit], len(loaded) > params.limit
    cursor = None
    if has_more:
        position = _position_of(page[-1], order)
        cursor = encode_cursor(rows.model, order, position, fingerprint_of(params))
    return {"data": page, "next_cursor": cursor, "has_more": has_more, "count": total}


FilterValues = Mapping[str, object]  # by the names of the filters


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
        position = _decode_typed_position(params.cursor, time_field + fingerprint_of(params))
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
        cursor = encode_values([time_field + fingerprint_of(params), time, resource_type, row.pk])
    is_counted = params.include == "count"
    return {
        "data": page,
        "next_cursor": cursor,
        "has_more": has_more,
        "count": sum(rows.count() for rows in rows_by_type.values()) if is_counted else None,
    }


def _decode_typed_position(cursor: str, list_name: str) -> tuple[datetime, str, int]:
    """Return the time, resource type and id of a cursor of paginate_models()."""
    name, time, resource_type, pk = decode_values(cursor, 4)
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

    def refuse(name: str) -> str:
        return f"This list cannot be sorted by “{name}”.{suggest(name, allowed)}"

    check_names("sort", [name.removeprefix("-") for name in names], allowed, refuse)
    return ["-" * n.startswith("-") + allowed[n.removeprefix("-")] for n in names]


def check_names(
    parameter: str, names: Sequence[str], known: Collection[str], refuse: Callable[[str], str]
) -> None:
    """Raise Invalid for a name that is not known, with the sentence that `refuse` returns for it.

    Also raise it for a name that comes twice.
    """
    for name in names:
        if name not in known:
            raise Invalid.parameter(parameter, refuse(name))
    if len({*names}) < len(names):
        raise Invalid.parameter(parameter, f"“{parameter}” has a name twice. Send each name once.")


def fingerprint_of(params: PageParams, filters: FilterValues | None = None) -> str:
    """Return a text that differs for other filters; empty without any.

    The filters are those that were sent, and the ids in `filters` that the path names.
    """
    sent = {n: v for n, v in params.sent_fields().items() if n not in NO_FILTERS}
    in_path = {n: v for n, v in (filters or {}).items() if n not in sent and type(v) is int}
    if not (sent or in_path):
        return ""
    text = json.dumps([sent, in_path], default=str, sort_keys=True)
    return ":" + hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _position_of(row: models.Model, order: Sequence[str]) -> Position:
    """Return the values of the fields by which a list is ordered."""
    return [getattr(row, name.removeprefix("-")) for name in order]
