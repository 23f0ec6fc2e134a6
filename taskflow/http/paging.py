"""Pages of a list.

By key-set cursor, which neither repeats nor skips a row while others write; or by skip and limit.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Generic, Literal, TypeVar

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from pydantic import Field

from taskflow.db.expressions import Text
from taskflow.db.json import Document
from taskflow.db.ordering import complete_order, few_values_of, ordering_of, rows_behind
from taskflow.db.page_query import PageQuery, Partitions
from taskflow.db.query import QueryCache
from taskflow.db.viewer import Viewer
from taskflow.http.errors import Invalid, InvalidCursor
from taskflow.http.schema import MAX_ID, In, Out, check_timestamp, is_unstorable

MAX_CURSOR_LENGTH = 5000  # characters; it may hold a title of 500, whatever their script
NOT_OURS = "The cursor is not one of this list in this order. Start again without it."
T = TypeVar("T")
Row = TypeVar("Row", bound=models.Model)


class PageParams(In):
    """How much of a list, and from where."""

    limit: int = Field(50, ge=1, le=200, description="Rows per page.")
    cursor: str | None = Field(
        None, max_length=MAX_CURSOR_LENGTH, description="`next_cursor` of the page before."
    )
    skip: int = Field(0, ge=0, le=10_000, description="Rows to leave out; a cursor is cheaper.")
    include: Literal["count"] | None = Field(
        None, description="`count`: also count all rows that match."
    )


class Page(Out, Generic[T]):
    data: list[T]
    next_cursor: str | None = Field(description="Pass it as `cursor` to get the next page.")
    has_more: bool
    count: int | None = Field(description="All rows that match, when `include=count`; else null.")


def paginate(
    rows: models.QuerySet[Row], params: PageParams, *, order: Sequence[str]
) -> dict[str, Any]:
    """Return one Page of `rows` in `order` (model fields, `-` for descending); nulls come last.

    Raises InvalidCursor when the cursor was not made by this list in this order.
    """
    order = complete_order(order)
    total = rows.count() if params.include == "count" else None
    wanted = rows.order_by(*ordering_of(rows.model, order))
    if params.cursor is not None:
        wanted = wanted.filter(
            rows_behind(rows.model, order, _decode(rows.model, order, params.cursor))
        )
    found = list(wanted[params.skip : params.skip + params.limit + 1])
    page, has_more = found[: params.limit], len(found) > params.limit
    return {
        "data": page,
        "next_cursor": _encode(rows.model, order, _place(order, page[-1])) if has_more else None,
        "has_more": has_more,
        "count": total,
    }


@dataclass(frozen=True)
class BuiltPage:
    """A Page whose rows are text already, with what was asked for beside each."""

    rows: list[str]
    beside: list[tuple[Any, ...]]
    rest: dict[str, Any]

    @property
    def is_empty(self) -> bool:
        return not self.rows

    def as_text(self) -> str:
        """The page as JSON."""
        return f'{{"data":[{",".join(self.rows)}],{json.dumps(self.rest)[1:]}'


class ListQuery:
    """A list whose pages the database builds: `rows(viewer, wanted)`, each as `document(viewer)`,
    with the columns `beside` it. `partitions(viewer, wanted, order)` returns the partitions of the
    list, or None where it is better read as a whole. `is_of_one_partition(wanted)` returns whether
    all rows are in one partition.
    """

    def __init__(
        self,
        model: type[models.Model],
        rows: Callable[[Viewer, Mapping[str, Any]], models.QuerySet[Any]],
        document: Callable[[Viewer], Document],
        *,
        beside: Sequence[str] = (),
        partitions: Callable[[Viewer, Mapping[str, Any], Sequence[str]], Partitions | None]
        | None = None,
        is_of_one_partition: Callable[[Mapping[str, Any]], bool] | None = None,
    ) -> None:
        self.model, self.rows, self.document, self.beside = model, rows, document, beside
        self.partitions = partitions
        self.is_of_one_partition = is_of_one_partition
        self.pages = QueryCache(self._page)
        self.wholes = QueryCache(self._whole)

    def page(
        self, viewer: Viewer, wanted: Mapping[str, Any], params: PageParams, order: Sequence[str]
    ) -> BuiltPage:
        """One Page in `order`, as paginate() has it."""
        order = complete_order(order)
        names, values = tuple(wanted), tuple(wanted.values())
        place = total = None
        if params.cursor is not None:
            place = tuple(_decode(self.model, order, params.cursor))
        if params.include == "count":
            total = self.wholes.count((names,), viewer, values)
        fixed = (names, tuple(order), params.limit + 1, _at_least(params.skip))
        asked = (viewer, values, place, params.skip or None)
        found = self.pages.fetch(fixed, *asked, commit_with=not self.beside)
        page, has_more = found[: params.limit], len(found) > params.limit
        rest = {
            "next_cursor": _encode(self.model, order, page[-1][-len(order) :])
            if has_more
            else None,
            "has_more": has_more,
            "count": total,
        }
        beside = [row[1 : -len(order)] for row in page]
        return BuiltPage([row[0] for row in page], beside, rest)

    def _whole(self, names: tuple[str, ...], viewer: Viewer, values: Any) -> models.QuerySet[Any]:
        wanted = dict(zip(names, values, strict=True))
        partitions = self.partitions and self.partitions(viewer, wanted, ["id"])
        rows = partitions.all_rows() if partitions else self.rows(viewer, wanted)
        return rows.order_by().values_list("pk")

    def _page(
        self,
        names: tuple[str, ...],
        order: tuple[str, ...],
        limit: int,
        most_skipped: int,
        viewer: Viewer,
        values: Any,
        place: Any,
        skip: Any,
    ) -> Any:
        wanted = dict(zip(names, values, strict=True))
        page = PageQuery(
            visible=self.rows(viewer, {}),
            matching=self.rows(viewer, wanted),
            partitions=self.partitions and self.partitions(viewer, wanted, order),
            is_of_one_partition=bool(self.is_of_one_partition and self.is_of_one_partition(wanted)),
            order=order,
            limit=limit,
            place=place,
            skip=skip,
            most_skipped=most_skipped,
        )
        built = page.rows().annotate(_document=Text(self.document(viewer).json()))
        columns = [*self.beside, *(name.removeprefix("-") for name in order)]
        return built.values_list("_document", *columns)


def _at_least(skip: int) -> int:
    """The least power of two that is not below `skip`: a page's statement depends on it."""
    return 1 << (skip - 1).bit_length() if skip else 0


def paginate_kinds(
    kinds: Mapping[Any, models.QuerySet[Any]], params: PageParams, *, newest: str
) -> dict[str, Any]:
    """Return one Page of (kind, row) of several models, the latest `newest` first.

    Raises InvalidCursor when the cursor is not of such a list.
    """
    place = _read_place(params.cursor, newest) if params.cursor is not None else None
    found: list[tuple[str, Any]] = []
    for kind, rows in kinds.items():
        wanted = rows.filter(_behind(kind, place, newest)) if place else rows
        wanted = wanted.order_by(f"-{newest}", "-id")[: params.skip + params.limit + 1]
        found += [(kind, row) for row in wanted]
    found.sort(key=lambda pair: (-getattr(pair[1], newest).timestamp(), pair[0], -pair[1].pk))
    page = found[params.skip : params.skip + params.limit]
    has_more = len(found) > params.skip + params.limit
    last = (
        [newest, getattr(page[-1][1], newest).isoformat(), page[-1][0], page[-1][1].pk]
        if page
        else []
    )
    return {
        "data": page,
        "next_cursor": _pack(last) if has_more else None,
        "has_more": has_more,
        "count": sum(r.count() for r in kinds.values()) if params.include == "count" else None,
    }


def _read_place(cursor: str, newest: str) -> tuple[datetime, str, int]:
    head, instant, kind, pk = _unpack(cursor, 4)
    try:
        if head != newest or not isinstance(kind, str) or type(pk) is not int or abs(pk) > MAX_ID:
            raise ValueError
        return check_timestamp(datetime.fromisoformat(instant)), kind, pk
    except (ValueError, TypeError, OverflowError):
        raise InvalidCursor(NOT_OURS) from None


def _behind(kind: str, place: tuple[datetime, str, int], newest: str) -> Q:
    instant, last_kind, pk = place
    older = Q((f"{newest}__lt", instant))
    if kind < last_kind:
        return older
    return older | Q((newest, instant), *([("id__lt", pk)] if kind == last_kind else []))


def read_sort(text: str | None, *, default: Sequence[str], allowed: Mapping[str, str]) -> list[str]:
    """Turn `-priority,due_date` into model fields. Raises Invalid for a name not in `allowed`."""
    if not text:
        return list(default)
    names = text.split(",")
    if unknown := [n for n in names if n.removeprefix("-") not in allowed]:
        known = ", ".join(allowed)
        raise Invalid.parameter("sort", f"Cannot sort by “{unknown[0]}”. Known: {known}.")
    if len({n.removeprefix("-") for n in names}) < len(names):
        raise Invalid.parameter("sort", "Each name may be given once.")
    return ["-" * n.startswith("-") + allowed[n.removeprefix("-")] for n in names]


def _place(order: Sequence[str], row: models.Model) -> list[Any]:
    return [getattr(row, name.removeprefix("-")) for name in order]


def _encode(model: type[models.Model], order: Sequence[str], place: Sequence[Any]) -> str:
    plain = [v.isoformat() if isinstance(v, date) else v for v in place]
    return _pack([_head(model, order), *plain])


def _pack(values: list[Any]) -> str:
    text = json.dumps(values, separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _unpack(cursor: str, length: int) -> list[Any]:
    """Raises InvalidCursor."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        values = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, RecursionError):
        raise InvalidCursor(NOT_OURS) from None
    if not isinstance(values, list) or len(values) != length:
        raise InvalidCursor(NOT_OURS)
    return values


def _head(model: type[models.Model], order: Sequence[str]) -> str:
    """Whose cursor it is: places in one list, or in one order, mean nothing in another."""
    return f"{model._meta.model_name}:{','.join(order)}"


def _decode(model: type[models.Model], order: Sequence[str], cursor: str) -> list[Any]:
    head, *values = _unpack(cursor, len(order) + 1)
    try:
        fields = [model._meta.get_field(name.removeprefix("-")) for name in order]
        if head != _head(model, order) or any(isinstance(v, list | dict | bool) for v in values):
            raise ValueError
        place = [_read(f, v) for f, v in zip(fields, values, strict=True)]
        _refuse_unknown_values(model, order, place)
        return place
    except (ValueError, TypeError, ValidationError, OverflowError):
        raise InvalidCursor(NOT_OURS) from None


def _refuse_unknown_values(
    model: type[models.Model], order: Sequence[str], place: Sequence[Any]
) -> None:
    """Raise ValueError for a value that a field of few values never has.

    The query computes the values behind it: behind the largest number there would be none.
    """
    few_values = few_values_of(model)
    for name, value in zip(order, place, strict=True):
        values = few_values.get(name.removeprefix("-"))
        if values is not None and value not in values:
            raise ValueError("not one of the few values")


def _read(field: Any, value: Any) -> Any:
    """Refuse what no row can hold, and the database would choke on. Raises ValueError."""
    value = getattr(field, "output_field", field).to_python(value)  # of a generated one
    if value is None and not field.null:
        raise ValueError("never null")
    if isinstance(value, int) and abs(value) > MAX_ID:
        raise ValueError("not a number that fits")
    if isinstance(value, str) and is_unstorable(value):
        raise ValueError("not text")
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("not an instant")
        return check_timestamp(value)
    return value
