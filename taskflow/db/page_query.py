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
from django.db.models import F, Func, OrderBy, OuterRef, QuerySet, Subquery

from taskflow.db.ordering import Segment, ordering_of, segments_of


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

    def rows(self) -> QuerySet[Any]:
        """The rows of the page, in order."""
        model = self.visible.model
        ordering = ordering_of(model, self.order)
        segments = segments_of(model, self.order, self.place)
        is_simple = len(segments) == 1 and self.partitions is None
        if is_simple and self.skip is None and connection.vendor == "postgresql":
            # PostgreSQL builds responses after it has sorted and limited the rows.
            matching = self.matching.filter(segments[0].condition)
            return matching.order_by(*ordering)[: self.limit]
        chosen = self._chosen(segments, ordering)
        return self.visible.filter(InIds("pk", chosen)).order_by(*ordering)

    def _chosen(self, segments: Sequence[Segment], ordering: Sequence[OrderBy]) -> Subquery:
        """The ids of the rows of the page."""
        if len(segments) == 1 and self.partitions is None:
            return _limited(self.matching, segments[0], self.limit, self.skip)
        most = self.limit + self.most_skipped
        if self.partitions is None:
            rows = self.visible
            candidates = [_limited(self.matching, segment, most) for segment in segments]
        else:
            rows = self.partitions.rows
            candidates = [first_rows(self.partitions, segment, most) for segment in segments]
        merged = rows.filter(InIds("pk", *candidates)).order_by(*ordering)
        return Ids(merged.values("pk")[: self.limit], self.skip)


def _limited(rows: QuerySet[Any], segment: Segment, limit: int, skip: Any = None) -> Subquery:
    ordered = rows.filter(segment.condition).order_by(*segment.ordering)
    return Ids(ordered.values("pk")[:limit], skip)


def first_rows(partitions: Partitions, segment: Segment, limit: int) -> Subquery:
    """The ids of the first rows of each partition: at least all that are among the first `limit` of
    the segment.
    """
    own = partitions.rows.filter(segment.condition, **{partitions.field: OuterRef("pk")})
    own = own.order_by(*segment.ordering)
    lists = partitions.parents.annotate(_ids=IdList(own.values("pk")[:limit])).values("_ids")
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


class InIds(Func):
    """Whether a column holds an id that one of the subqueries returns."""

    output_field = models.BooleanField()

    def __init__(self, column: str, *subqueries: Subquery) -> None:
        super().__init__(F(column), *subqueries)

    def as_sql(self, compiler: Any, connection: Any, *args: Any, **context: Any) -> Any:
        compiled = [compiler.compile(part) for part in self.get_source_expressions()]
        params = [param for _, found in compiled for param in found]
        column, *queries = [sql for sql, _ in compiled]
        if connection.vendor == "postgresql":
            # As arrays: a plan then begins with the ids, and does not read the whole table.
            return f"{column} = ANY({' || '.join(f'ARRAY{sql}' for sql in queries)})", params
        found = " UNION ALL ".join(f"SELECT * FROM {sql}" for sql in queries)  # noqa: S608 - compiled by the ORM
        return f"{column} IN ({found})", params
