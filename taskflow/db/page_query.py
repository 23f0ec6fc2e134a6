"""The query of one page of a list: a subquery selects the ids of its rows, in order.

A database may build the response of every matching row before it sorts and limits the rows; SQLite
does. So the ids of the page are selected first, by indexes alone, and responses are built only for
these rows.

A list may have partitions, such as the projects of tasks, whose indexes lead with the partition.
The first rows of each partition are selected, and the page is selected from these. So a page costs
the same whether the viewer sees a small or a large part of the table. Only the partitions whose
first row comes first can contribute, at most as many as there are rows on the page.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from django.db import connection, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F, Func, OrderBy, OuterRef, Q, QuerySet, Subquery

from taskflow.db.ordering import Segment, ordering_of, rows_after, segments_of
from taskflow.db.statements import Parameter
from taskflow.db.types import MAX_ID, Position, SqlAndParams

if TYPE_CHECKING:
    from django.db.models.sql.compiler import SQLCompiler

WINDOW = 4  # times as many rows as a page has


@dataclass(frozen=True)
class Partitions:
    """The partitions of a list: the rows of `parents`.

    `rows` are the matching rows of all partitions; their foreign key `field` refers to the parent.
    With `whole`, all rows of the table in the tenant, the page is first looked for among the next
    ones of these: see PageQuery.
    """

    parents: QuerySet[models.Model]
    rows: QuerySet[models.Model]
    field: str
    whole: QuerySet[models.Model] | None = None

    def all_rows(self) -> QuerySet[models.Model]:
        """Return the matching rows of all partitions, in no order."""
        return self.rows.filter(**{f"{self.field}__in": self.parents.order_by()})


@dataclass(frozen=True)
class PageQuery:
    """One page of a list: up to `limit` rows of `matching`, in `order`, after `position`.

    `visible` are all rows that the viewer may see. `position` is None for the first page, see
    ordering.py. `skip` is None or the number of rows to leave out, as a value or a Parameter, at
    most `max_skip`. `is_of_one_partition` means that all matching rows are in one partition.

    A list in the order of ids that has `partitions.whole` is read as a whole where most of the next
    rows of the table are on the page, and by partitions where they are not: if the page is not full
    after WINDOW times as many rows as it has. Such a list is read as a whole if rows are skipped.
    """

    visible: QuerySet[models.Model]
    matching: QuerySet[models.Model]
    partitions: Partitions | None
    order: Sequence[str]
    limit: int
    position: Position | None = None
    skip: int | Parameter | None = None
    max_skip: int = 0
    is_of_one_partition: bool = False

    def rows(self) -> QuerySet[models.Model]:
        """Return the rows of the page, in order."""
        model = self.visible.model
        ordering = ordering_of(model, self.order)
        if self.partitions and self.partitions.whole is not None:
            if self.skip is not None:
                return replace(self, partitions=None).rows()
            is_candidate = self._is_among_next(self.partitions, self.partitions.whole)
            return self.visible.filter(is_candidate).order_by(*ordering)[: self.limit]
        segments = self._find_segments()
        is_simple = len(segments) == 1 and self.partitions is None
        if is_simple and self.skip is None and connection.vendor == "postgresql":
            # PostgreSQL builds responses after it has sorted and limited the rows.
            matching = self.matching.filter(segments[0].condition)
            return matching.order_by(*ordering)[: self.limit]
        ids = self._select_page_ids(segments, ordering)
        return self.visible.filter(IsInSubqueries("pk", ids)).order_by(*ordering)

    def _is_among_next(
        self, partitions: Partitions, whole: QuerySet[models.Model]
    ) -> IsInSubqueries:
        """Return the condition that a row is a candidate of a list in the order of ids.

        They include the rows of the page: the matching ones among the next rows of the table, and
        if these do not fill the page, the first ones of each partition.
        """
        (segment,) = segments_of(self.visible.model, self.order, self.position)
        size = WINDOW * self.limit
        next_ids = whole.filter(segment.condition).order_by(*segment.ordering).values("pk")
        end = Subquery(next_ids[size : size + 1])  # empty if there are fewer
        if segment.ordering[0].descending:
            is_next = Q(pk__gte=ValueOr(end, 0))
        else:
            is_next = Q(pk__lte=ValueOr(end, MAX_ID))
        ids = _select_ids(self.matching.filter(is_next), segment, self.limit)
        is_unfilled = IsPageUnfilled(1, self.limit)
        of_partitions = select_first_rows(partitions, segment, self.limit, is_unfilled)
        return IsInSubqueries("pk", IdSubquery(ids), of_partitions)

    def _find_segments(self) -> list[Segment]:
        """Return the segments of the list.

        A list that is divided into partitions, or lies in one, has an index for each segment. Other
        lists are read as one segment, since each further segment would run the filters again.
        """
        model = self.visible.model
        if self.partitions or self.is_of_one_partition:
            return segments_of(model, self.order, self.position)
        after = Q() if self.position is None else rows_after(model, self.order, self.position)
        return [Segment(after, ordering_of(model, self.order))]

    def _select_page_ids(
        self, segments: Sequence[Segment], ordering: Sequence[OrderBy]
    ) -> Subquery:
        """Return the subquery of the ids of the rows of the page."""
        if len(segments) == 1 and self.partitions is None:
            return IdSubquery(_select_ids(self.matching, segments[0], self.limit), self.skip)
        candidate_limit = self.limit + self.max_skip
        candidates = [
            self._select_candidates(*numbered, candidate_limit) for numbered in enumerate(segments)
        ]
        rows = self.partitions.rows if self.partitions else self.visible
        merged = rows.filter(IsInSubqueries("pk", *candidates)).order_by(*ordering)
        return IdSubquery(merged.values("pk")[: self.limit], self.skip)

    def _select_candidates(self, number: int, segment: Segment, candidate_limit: int) -> Subquery:
        """Return the ids of a segment's rows that may be on the page.

        None are selected if the segments before it fill the page.
        """
        is_unfilled = IsPageUnfilled(number, candidate_limit)
        if self.partitions is None:
            return ConditionalIds(_select_ids(self.matching, segment, candidate_limit), is_unfilled)
        return select_first_rows(self.partitions, segment, candidate_limit, is_unfilled)


def _select_ids(
    rows: QuerySet[models.Model], segment: Segment, limit: int
) -> QuerySet[models.Model, object]:
    return rows.filter(segment.condition).order_by(*segment.ordering).values("pk")[:limit]


def select_first_rows(
    partitions: Partitions, segment: Segment, limit: int, is_unfilled: IsPageUnfilled
) -> Subquery:
    """Return the ids of the first rows of each partition.

    They include the first `limit` rows of the segment.
    """
    rows = partitions.rows.filter(segment.condition, **{partitions.field: OuterRef("pk")})
    rows = rows.order_by(*segment.ordering)
    parents = partitions.parents.filter(is_unfilled) if is_unfilled.number else partitions.parents
    lists = parents.annotate(_ids=IdArrayOf(rows.values("pk")[:limit])).values("_ids")
    if len(segment.ordering) > 2:  # no index has the order: finding a first row would sort them all
        return UnnestedIds(lists.order_by())
    return UnnestedIds(lists.order_by(*_by_first_row(rows, segment.ordering))[:limit])


def _by_first_row(rows: QuerySet[models.Model], ordering: Iterable[OrderBy]) -> Iterator[OrderBy]:
    """Yield the order of partitions by their first row; empty partitions come last."""
    for order in ordering:
        field: Any = order.expression
        first = Subquery(rows.values(field.name)[:1])
        yield OrderBy(first, descending=order.descending, nulls_last=True)


class IdSubquery(Subquery):
    """A subquery of ids, with an OFFSET that may be a parameter."""

    def __init__(
        self, rows: QuerySet[models.Model, object], skip: int | Parameter | None = None
    ) -> None:
        super().__init__(rows)
        self.skip = skip

    def as_sql(
        self,
        compiler: SQLCompiler,
        connection: BaseDatabaseWrapper,
        *args: str | None,
        **context: str | None,
    ) -> SqlAndParams:
        sql, params = super().as_sql(compiler, connection, *args, **context)
        if self.skip is None:
            return sql, params
        return f"{sql[:-1]} OFFSET %s)", (*params, self.skip)


class ValueOr(Func):
    """The id that a subquery returns, or else a given one.

    As a subquery, because PostgreSQL compares no index with COALESCE behind row-level security.
    """

    function = "COALESCE"
    template = "(SELECT %(function)s(%(expressions)s))"
    output_field = models.BigIntegerField()


class IdArrayOf(Subquery):
    """The ids of a subquery as one value: an array on PostgreSQL, JSON on SQLite."""

    template = "ARRAY(%(subquery)s)"
    output_field = models.TextField()

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: str | None
    ) -> SqlAndParams:
        template = "(WITH j(d) AS (%(subquery)s) SELECT json_group_array(j.d) FROM j)"
        return super().as_sql(compiler, connection, template=template, **context)


class UnnestedIds(Subquery):
    """The ids in all arrays that a subquery returns, one row for each id."""

    template = "(SELECT unnest(p.ids) FROM (%(subquery)s) p(ids))"
    output_field = models.BigIntegerField()

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: str | None
    ) -> SqlAndParams:
        template = "(WITH p(ids) AS (%(subquery)s) SELECT j.value FROM p, json_each(p.ids) j)"
        return super().as_sql(compiler, connection, template=template, **context)


class ConditionalIds(Subquery):
    """The ids of a subquery, which is run only if the condition holds."""

    template = "(SELECT unnest(ARRAY(%(subquery)s)) WHERE %(condition)s)"
    output_field = models.BigIntegerField()

    def __init__(self, rows: QuerySet[models.Model, object], is_unfilled: IsPageUnfilled) -> None:
        super().__init__(rows, condition=is_unfilled.sql)

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: str | None
    ) -> SqlAndParams:
        # As one value: in an ordinary subquery SQLite would test the condition at each row.
        ids = "(WITH j(d) AS (%(subquery)s) SELECT json_group_array(j.d) FROM j)"
        row = f"WITH p(ids) AS (SELECT {ids} WHERE %(condition)s)"
        template = f"({row} SELECT j.value FROM p, json_each(p.ids) j)"  # noqa: S608 - no values
        return super().as_sql(compiler, connection, template=template, **context)


class IsPageUnfilled(Func):
    """Whether the segments before segment `number` have fewer than `limit` candidates.

    Use it in a subquery of IsInSubqueries, which names the segments segment_0, segment_1 and so on.
    """

    output_field = models.BooleanField()

    def __init__(self, number: int, limit: int) -> None:
        super().__init__()
        self.number = number
        segments = [f"segment_{n}" for n in range(number)]
        counts = [f"(SELECT count(*) FROM {name})" for name in segments]  # noqa: S608 - as above
        self.sql = f"{' + '.join(counts) or '0'} < {limit}"

    def as_sql(
        self,
        compiler: SQLCompiler,
        connection: BaseDatabaseWrapper,
        *args: str | None,
        **context: str | None,
    ) -> SqlAndParams:
        return self.sql, []


class IsInSubqueries(Func):
    """Whether a column holds an id that one of the subqueries returns.

    They are run in order, as segment_0, segment_1 and so on.
    """

    output_field = models.BooleanField()

    def __init__(self, column: str, *subqueries: Subquery) -> None:
        super().__init__(F(column), *subqueries)

    def as_sql(
        self,
        compiler: SQLCompiler,
        connection: BaseDatabaseWrapper,
        *args: str | None,
        **context: str | None,
    ) -> SqlAndParams:
        compiled = [compiler.compile(part) for part in self.get_source_expressions()]
        params = [param for _, inner_params in compiled for param in inner_params]
        column, *queries = [sql for sql, _ in compiled]
        ids = queries[0][1:-1] if len(queries) == 1 else _concatenate(queries)
        if connection.vendor == "postgresql":
            # As an array: a plan then begins with the ids, and does not read the whole table.
            return f"{column} = ANY(ARRAY({ids}))", params
        return f"{column} IN ({ids})", params


def _concatenate(queries: Sequence[str]) -> str:
    """Return the SQL of the ids of all queries. Each is run once, however often it is used."""
    named = [f"segment_{n}(id) AS MATERIALIZED {sql}" for n, sql in enumerate(queries)]
    ids = [f"SELECT id FROM segment_{n}" for n in range(len(queries))]  # noqa: S608 - no values in it
    return f"WITH {', '.join(named)} {' UNION ALL '.join(ids)}"
