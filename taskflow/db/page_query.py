"""The statement of one page of a list: which rows are on it, then their responses.

A database may build the response of every row that matches before it sorts and limits them; SQLite
does. So the ids of the page are chosen first, by indexes alone, and responses are built for these.

A list may have partitions, such as the projects of tasks, whose indexes lead with the partition.
The first rows of each partition are chosen, and the page out of these. So a page costs the same
whichever share of a large table the viewer sees. Only the partitions whose first row comes first
can contribute, at most as many as there are rows on the page.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection, models
from django.db.models import F, Func, OrderBy, OuterRef, Q, QuerySet, Subquery

from taskflow.db.ordering import Segment, ordering_of, rows_after, segments_of


@dataclass(frozen=True)
class Partitions:
    """The partitions of a list and, by their foreign key `field`, all matching rows of them."""

    parents: QuerySet[Any]
    rows: QuerySet[Any]
    field: str

    def all_rows(self) -> QuerySet[Any]:
        return self.rows.filter(**{f"{self.field}__in": self.parents.order_by()})


@dataclass(frozen=True)
class PageQuery:
    """What to read: `limit` rows of `matching`, in `order`, behind the row at `place`.

    `visible` are the rows that the viewer may see at all; `skip` is None or the number of rows to
    leave out, as a value or a parameter, at most `most_skipped`.
    """

    visible: QuerySet[Any]
    matching: QuerySet[Any]
    partitions: Partitions | None
    order: Sequence[str]
    limit: int
    place: Sequence[Any] | None = None
    skip: Any = None
    most_skipped: int = 0
    is_of_one_partition: bool = False

    def rows(self) -> QuerySet[Any]:
        """The rows of the page, in order."""
        model = self.visible.model
        ordering = ordering_of(model, self.order)
        segments = self._segments()
        is_simple = len(segments) == 1 and self.partitions is None
        if is_simple and self.skip is None and connection.vendor == "postgresql":
            # PostgreSQL builds responses after it has sorted and limited the rows.
            matching = self.matching.filter(segments[0].condition)
            return matching.order_by(*ordering)[: self.limit]
        chosen = self._chosen(segments, ordering)
        return self.visible.filter(IsSelectedById("pk", chosen)).order_by(*ordering)

    def _segments(self) -> list[Segment]:
        """Without partitions no index has the order. To divide what a filter found would run it
        again for each segment.
        """
        model = self.visible.model
        if self.partitions or self.is_of_one_partition:
            return segments_of(model, self.order, self.place)
        behind = Q() if self.place is None else rows_after(model, self.order, self.place)
        return [Segment(behind, ordering_of(model, self.order))]

    def _chosen(self, segments: Sequence[Segment], ordering: Sequence[OrderBy]) -> Subquery:
        """The ids of the rows of the page."""
        if len(segments) == 1 and self.partitions is None:
            return Ids(_limited(self.matching, segments[0], self.limit), self.skip)
        most = self.limit + self.most_skipped
        candidates = [self._candidates(*numbered, most) for numbered in enumerate(segments)]
        rows = self.partitions.rows if self.partitions else self.visible
        merged = rows.filter(IsSelectedById("pk", *candidates)).order_by(*ordering)
        return Ids(merged.values("pk")[: self.limit], self.skip)

    def _candidates(self, number: int, segment: Segment, most: int) -> Subquery:
        """The ids of the segment that may be on the page: none if those before it fill the page."""
        is_wanted = IsWanted(number, most)
        if self.partitions is None:
            return WantedIds(_limited(self.matching, segment, most), is_wanted)
        return first_rows(self.partitions, segment, most, is_wanted)


def _limited(rows: QuerySet[Any], segment: Segment, limit: int) -> QuerySet[Any]:
    return rows.filter(segment.condition).order_by(*segment.ordering).values("pk")[:limit]


def first_rows(
    partitions: Partitions, segment: Segment, limit: int, is_wanted: IsWanted
) -> Subquery:
    """The ids of the first rows of each partition: at least all that are among the first `limit` of
    the segment.
    """
    own = partitions.rows.filter(segment.condition, **{partitions.field: OuterRef("pk")})
    own = own.order_by(*segment.ordering)
    parents = partitions.parents.filter(is_wanted) if is_wanted.number else partitions.parents
    lists = parents.annotate(_ids=IdList(own.values("pk")[:limit])).values("_ids")
    if len(segment.ordering) > 2:  # no index has the order: to find a first row would sort as much
        return MergedIds(lists.order_by())
    return MergedIds(lists.order_by(*_by_first_row(own, segment.ordering))[:limit])


def _by_first_row(own: QuerySet[Any], ordering: Iterable[OrderBy]) -> Iterator[OrderBy]:
    """The order of partitions by their first row; empty partitions come last."""
    for order in ordering:
        field: Any = order.expression
        first = Subquery(own.values(field.name)[:1])
        yield OrderBy(first, descending=order.descending, nulls_last=True)


class Ids(Subquery):
    """A subquery of ids, with an OFFSET that may be a parameter."""

    def __init__(self, rows: QuerySet[Any], skip: Any = None) -> None:
        super().__init__(rows)
        self.skip = skip

    def as_sql(self, compiler: Any, connection: Any, *args: Any, **context: Any) -> Any:
        sql, params = super().as_sql(compiler, connection, *args, **context)
        if self.skip is None:
            return sql, params
        return f"{sql[:-1]} OFFSET %s)", (*params, self.skip)


class IdList(Subquery):
    """The ids of a subquery as one value: an array, or JSON."""

    template = "ARRAY(%(subquery)s)"
    output_field = models.TextField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "(WITH j(d) AS (%(subquery)s) SELECT json_group_array(j.d) FROM j)"
        return super().as_sql(compiler, connection, template=template, **context)


class MergedIds(Subquery):
    """The ids in all the lists that a subquery returns."""

    template = "(SELECT unnest(p.ids) FROM (%(subquery)s) p(ids))"
    output_field = models.BigIntegerField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        template = "(WITH p(ids) AS (%(subquery)s) SELECT j.value FROM p, json_each(p.ids) j)"
        return super().as_sql(compiler, connection, template=template, **context)


class WantedIds(Subquery):
    """The ids of a subquery, which is run only if the condition holds."""

    template = "(SELECT unnest(ARRAY(%(subquery)s)) WHERE %(condition)s)"
    output_field = models.BigIntegerField()

    def __init__(self, rows: QuerySet[Any], is_wanted: IsWanted) -> None:
        super().__init__(rows, condition=is_wanted.sql)

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        # As one value: in an ordinary subquery SQLite would test the condition at each row.
        ids = "(WITH j(d) AS (%(subquery)s) SELECT json_group_array(j.d) FROM j)"
        row = f"WITH p(ids) AS (SELECT {ids} WHERE %(condition)s)"
        template = f"({row} SELECT j.value FROM p, json_each(p.ids) j)"  # noqa: S608 - no values
        return super().as_sql(compiler, connection, template=template, **context)


class IsWanted(Func):
    """Whether the segments before a number have too few candidates to fill a page.

    To be used in a subquery of IsSelectedById, which gives these segments their names.
    """

    output_field = models.BooleanField()

    def __init__(self, number: int, limit: int) -> None:
        super().__init__()
        self.number = number
        segments = [f"segment_{n}" for n in range(number)]
        counts = [f"(SELECT count(*) FROM {name})" for name in segments]  # noqa: S608 - as above
        self.sql = f"{' + '.join(counts) or '0'} < {limit}"

    def as_sql(self, compiler: Any, connection: Any, *args: Any, **context: Any) -> Any:
        return self.sql, []


class IsSelectedById(Func):
    """Whether a column holds an id that one of the subqueries returns. They are run in order, as
    segment_0, segment_1 and so on.
    """

    output_field = models.BooleanField()

    def __init__(self, column: str, *subqueries: Subquery) -> None:
        super().__init__(F(column), *subqueries)

    def as_sql(self, compiler: Any, connection: Any, *args: Any, **context: Any) -> Any:
        compiled = [compiler.compile(part) for part in self.get_source_expressions()]
        params = [param for _, found in compiled for param in found]
        column, *queries = [sql for sql, _ in compiled]
        ids = queries[0][1:-1] if len(queries) == 1 else _in_order(queries)
        if connection.vendor == "postgresql":
            # As an array: a plan then begins with the ids, and does not read the whole table.
            return f"{column} = ANY(ARRAY({ids}))", params
        return f"{column} IN ({ids})", params


def _in_order(queries: Sequence[str]) -> str:
    """The ids of all queries. Each is run once, however often its result is used."""
    named = [f"segment_{n}(id) AS MATERIALIZED {sql}" for n, sql in enumerate(queries)]
    ids = [f"SELECT id FROM segment_{n}" for n in range(len(queries))]  # noqa: S608 - no values in it
    return f"WITH {', '.join(named)} {' UNION ALL '.join(ids)}"
