"""Lists whose pages the database builds, by queries that are compiled once."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.db import models

from taskflow.db.expressions import AsText
from taskflow.db.json import JsonBuilder
from taskflow.db.ordering import complete_order
from taskflow.db.page_query import PageQuery, Partitions
from taskflow.db.query import QueryCache
from taskflow.db.statements import Parameter
from taskflow.db.types import Position, Row
from taskflow.db.viewer import Viewer
from taskflow.http.cursors import decode_cursor, encode_cursor
from taskflow.http.fields import MAX_PARTIAL_VARIANTS
from taskflow.http.paging import FilterValues, PageParams, fingerprint_of


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
        # Apart from the others, so that many different fields do not displace them.
        self.partial_queries = QueryCache(self._select_page, max_variants=MAX_PARTIAL_VARIANTS)
        self.count_queries = QueryCache(self._select_all)

    def page(
        self,
        viewer: Viewer,
        filters: FilterValues,
        params: PageParams,
        order: Sequence[str],
        fields: tuple[str, ...] | None = None,
    ) -> BuiltPage:
        """Return one page in `order`: see paginate(). With `fields`, rows have these alone."""
        order = complete_order(order)
        names, values = tuple(filters), tuple(filters.values())
        position = total = None
        if params.cursor is not None:
            fingerprint = fingerprint_of(params, filters)
            position = tuple(decode_cursor(self.model, order, params.cursor, fingerprint))
        if params.include == "count":
            total = self.count_queries.count((names,), viewer, values)
        variant = (names, tuple(order), params.limit + 1, _next_power_of_two(params.skip), fields)
        arguments = (viewer, values, position, params.skip or None)
        # A list with extra columns needs further queries before the COMMIT.
        is_last_query = not self.extra_columns
        queries = self.partial_queries if fields else self.page_queries
        loaded = queries.fetch(variant, *arguments, commit_with=is_last_query)
        page, has_more = loaded[: params.limit], len(loaded) > params.limit
        last_position = page[-1][-len(order) :] if has_more else None
        cursor = None
        if last_position:
            fingerprint = fingerprint_of(params, filters)
            cursor = encode_cursor(self.model, order, last_position, fingerprint)
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
        fields: tuple[str, ...] | None,
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
        builder = self.build(viewer).only(fields) if fields else self.build(viewer)
        rows = page.rows().annotate(_json=AsText(builder.json()))
        columns = [*self.extra_columns, *(name.removeprefix("-") for name in order)]
        selected: models.QuerySet[models.Model, Row] = rows.values_list("_json", *columns)
        return selected


def _next_power_of_two(skip: int) -> int:
    """Return the least power of two that is not below `skip`; 0 for 0.

    The SQL of a page depends on it, so rounding keeps the number of different queries small.
    """
    return 1 << (skip - 1).bit_length() if skip else 0
