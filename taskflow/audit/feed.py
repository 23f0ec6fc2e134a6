"""
The event log as a feed: all events of a tenant in the order of their commits, from any position on.

A reader that asks for the events after its last position gets each event once. The order is that of
(epoch, sequence, id):

- `sequence` is the id of the transaction that wrote the event on PostgreSQL, and 0 on SQLite, which
  has one writer at a time, so that ids alone are in the order of the commits. On PostgreSQL, only
  events of transactions that began before the oldest one that is still running are read. Later ones
  could still be preceded by those of the running transaction.
- Ids of transactions mean something in one database server only. So the log of a tenant that was
  imported, or restored from a backup, keeps the epochs and sequences of its events, and its new
  events have the next epoch. Tenant.event_epoch has the current one.

A cursor names an event: its epoch, sequence and id. It is valid as long as the log holds that
event, also after the tenant was moved to another database: an import that adds a number to the ids
stores this number in Tenant.event_id_shifts, and cursors contain the id from before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import reduce
from operator import or_
from typing import Any, NamedTuple, cast

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BigIntegerField, Exists, F, Func, Model, Q, QuerySet, Subquery
from django.db.models.fields.json import KeyTextTransform, KeyTransform
from django.db.models.functions import Cast
from django.db.models.sql.compiler import SQLCompiler

from taskflow.audit.history import USERS_OF_EVENT
from taskflow.audit.models import Event
from taskflow.audit.resource_types import resource_types
from taskflow.audit.visibility import sees_all_events, select_log
from taskflow.db.expressions import AsText, ConcatenatedText
from taskflow.db.ordering import IsAfter
from taskflow.db.query import QueryCache
from taskflow.db.types import MAX_ID, Row, SqlAndParams
from taskflow.db.viewer import Viewer
from taskflow.http.cursors import decode_values, encode_values
from taskflow.http.errors import Gone, InvalidCursor
from taskflow.http.parsing import parse_json
from taskflow.tenancy import with_tenant_parameter
from taskflow.tenancy.unit import current_unit

BEGINNING = "0"  # the cursor before the first event of the log
# Events that one call examines at most, if it leaves any out. It bounds the time of a call that
# finds few events in a large log; the next call continues after them.
WINDOW = 10_000
ORDER = ("epoch", "sequence", "id")
# A transaction with an id from this one on can still be running. Tests whose events are in the
# reader's own transaction replace it.
OLDEST_RUNNING = "pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
WRONG_CURSOR = InvalidCursor(
    "“after” is not a cursor of the events. Send the next_cursor of an earlier response, or"
    " after=0 to begin with the oldest event."
)
NOT_IN_LOG = Gone(
    "The log does not hold the event at this cursor any more, so events may be missing after it."
    " Read what you need anew, with GET /tasks?include=cursor, and continue from its"
    " events_cursor. To read all events that the log holds, send after=0."
)


class LogPosition(NamedTuple):
    """The position of an event in the log. The id is the one that it had in its epoch."""

    epoch: int
    sequence: int
    id: int


START = LogPosition(0, 0, 0)


@dataclass(frozen=True)
class FeedFilters:
    """Which events a reader wants. An empty filter selects all; the filters are combined by and.

    `projects`: ids of projects; also selects a task that was moved out of one of them.
    `tasks`: ids of tasks; also selects the events of their comments.
    `actors`: ids of users.
    `types`: (subject type, verb) for each type of event.
    """

    projects: tuple[int, ...] = ()
    tasks: tuple[int, ...] = ()
    actors: tuple[int, ...] = ()
    types: tuple[tuple[str, str], ...] = ()


NO_FILTERS = FeedFilters()


class FeedPage(NamedTuple):
    """The events after a cursor. `next_cursor` is never empty, also where there are no events.

    With `has_more`, read on at once; there may be more even if `events` is empty. `start` and
    `stop` are the positions between which the events were examined, with ids of this database; None
    if there were none.
    """

    events: list[Event]
    next_cursor: str
    has_more: bool
    start: LogPosition | None = None
    stop: LogPosition | None = None


def read_events(
    viewer: Viewer, after: str, filters: FeedFilters = NO_FILTERS, limit: int = 50
) -> FeedPage:
    """Return up to `limit` events after the cursor `after` that the viewer can see, oldest first.

    Each event has its own cursor as `cursor`, and its users loaded. Two statements, and one more
    for a cursor from before an import that changed the ids. Raises InvalidCursor for a text that is
    no cursor, and Gone for a position that the log does not hold.
    """
    position = parse_cursor(after)
    is_filtered = filters != NO_FILTERS or not sees_all_events(viewer)
    end = _find_end(position, is_windowed=is_filtered)
    if end.stop is None:
        return FeedPage([], after, has_more=False)
    variant = (limit + 1, OLDEST_RUNNING)
    start, stop = _shift(position, end.shifts), _shift(end.stop, end.shifts)
    events = _page_queries.fetch_objects(
        variant, viewer, tuple(start), tuple(stop), astuple(filters)
    )
    page, is_full = events[:limit], len(events) > limit
    for event in page:
        event.cursor = format_cursor(_position_of(event, end.shifts))
    next_cursor = page[-1].cursor if is_full else format_cursor(end.stop)
    return FeedPage(page, next_cursor, is_full or end.is_before_last, start, stop)


def latest_cursor() -> str:
    """Return the cursor of the last event of the current tenant that can be read now.

    One statement. A reader that reads rows in a later statement and continues from this cursor
    misses nothing: it may read an event about a change that the rows already contain.
    """
    stop = _find_end(START, is_windowed=False).stop
    return BEGINNING if stop is None else format_cursor(stop)


# ---- cursors ------------------------------------------------------------------------------------


def format_cursor(position: LogPosition) -> str:
    """Return the cursor of a position, an opaque text of URL-safe characters."""
    return BEGINNING if position == START else encode_values([*position])


def parse_cursor(cursor: str) -> LogPosition:
    """Return the position of a cursor. Raises InvalidCursor for any other text."""
    if cursor == BEGINNING:
        return START
    try:
        values = decode_values(cursor, len(ORDER))
    except InvalidCursor:
        raise WRONG_CURSOR.copy() from None
    if any(type(value) is not int or not 0 <= value <= MAX_ID for value in values):
        raise WRONG_CURSOR.copy()
    return LogPosition(*values)


IdShifts = Mapping[str, int]  # see Tenant.event_id_shifts


def _position_of(event: Event, shifts: IdShifts) -> LogPosition:
    shift = shifts.get(str(event.epoch), 0)
    return LogPosition(event.epoch, event.sequence, event.pk - shift)


def _shift(position: LogPosition, shifts: IdShifts) -> LogPosition:
    """Return the position with the id that its event has in this database.

    Cursors can be forged, so the sum may be no possible id.
    """
    shifted = position.id + shifts.get(str(position.epoch), 0)
    return LogPosition(position.epoch, position.sequence, max(0, min(shifted, MAX_ID)))


# ---- how far a call reads -----------------------------------------------------------------------


class _End(NamedTuple):
    """How far a call reads: to `stop`, or not at all if there are no events after its position."""

    stop: LogPosition | None
    is_before_last: bool
    shifts: IdShifts


def _find_end(position: LogPosition, *, is_windowed: bool) -> _End:
    """Return how far a call reads that continues after the position.

    All events up to there were committed before this statement, so that a later statement reads
    them all. Raises Gone if the log does not hold the event at the position.
    """
    shifts: IdShifts = {}
    for _ in range(2):  # again if an import has changed the ids of the epoch of the position
        shifted = _shift(position, shifts)
        rows = _end_queries.fetch((is_windowed, OLDEST_RUNNING), tuple(shifted))
        if not rows:
            break
        *last, last_in_window, is_held, text = rows[0]
        shifts = _parse_shifts(text)
        if shifted == _shift(position, shifts):
            break
    if position != START and not (rows and is_held):
        raise NOT_IN_LOG.copy()
    if not rows or LogPosition(*last) <= shifted:
        return _End(None, is_before_last=False, shifts=shifts)
    stop = LogPosition(*(map(int, last_in_window.split(".")) if last_in_window else last))
    shift = shifts.get(str(stop.epoch), 0)
    unshifted = LogPosition(stop.epoch, stop.sequence, stop.id - shift)
    return _End(unshifted, is_before_last=stop < LogPosition(*last), shifts=shifts)


def _parse_shifts(text: str | None) -> IdShifts:
    return cast(IdShifts, parse_json(text.encode())) if text else {}


@with_tenant_parameter
def _select_end(
    is_windowed: bool,
    oldest_running: str,
    position: Sequence[object],
) -> QuerySet[Event, Row]:
    """Select the last event that can be read, with what else _find_end() needs."""
    readable = Event.objects.filter(_can_be_read(oldest_running))
    window = readable.filter(IsAfter(ORDER, position, is_descending=False)).order_by(*ORDER)
    last = window.values(_text=ConcatenatedText(*map(F, ORDER), separator="."))
    held = Event.objects.filter(**dict(zip(ORDER, position, strict=True)))
    return (
        readable.order_by(*(f"-{name}" for name in ORDER))
        .annotate(
            _last_in_window=Subquery(last[WINDOW - 1 : WINDOW])
            if is_windowed
            else models.Value(None, models.TextField()),
            _is_held=Exists(held),
            _shifts=Subquery(_tenant().values(_shifts=AsText("event_id_shifts"))),
        )
        .values_list(*ORDER, "_last_in_window", "_is_held", "_shifts")[:1]
    )


_end_queries: QueryCache[Event] = QueryCache(_select_end)


def _tenant() -> QuerySet[Model]:
    """Return the tenant of the unit of work, as a queryset."""
    tenants = Event._meta.get_field("tenant").related_model
    assert isinstance(tenants, type)
    return tenants._default_manager.filter(pk=current_unit())


def _can_be_read(oldest_running: str) -> Q:
    """Return the condition that no transaction can commit an earlier event any more.

    Events of former epochs are all committed: the tenant was not in use when the epoch ended.
    """
    epoch = Subquery(_tenant().values("event_epoch"))
    return Q(IsAfter(ORDER[:2], [epoch, _SequenceLimit(oldest_running)], is_descending=True))


class _SequenceLimit(Func):
    """The number that is larger than the sequence of each event that can be read."""

    arity = 0
    output_field = BigIntegerField()

    def __init__(self, oldest_running: str) -> None:
        super().__init__()
        self.oldest_running = oldest_running

    def as_postgresql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: str | None
    ) -> SqlAndParams:
        return self.as_sql(compiler, connection, template=f"({self.oldest_running})")

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: str | None
    ) -> SqlAndParams:
        return self.as_sql(compiler, connection, template=str(MAX_ID))


# ---- which events -------------------------------------------------------------------------------


@with_tenant_parameter
def _select_page(
    limit: int,
    _oldest_running: str,
    viewer: Viewer,
    start: Sequence[object],
    stop: Sequence[object],
    filters: Sequence[Sequence[object]],
) -> QuerySet[Event]:
    """Select the events from after `start` up to `stop` that match the filters, oldest first."""
    events = select_between(start, stop)
    matching = _apply_filters(events, FeedFilters(*filters))  # type: ignore[arg-type]
    visible = select_log(viewer, matching)
    return visible.select_related(*USERS_OF_EVENT).order_by(*ORDER)[:limit]


def select_between(start: Sequence[object], stop: Sequence[object]) -> QuerySet[Event]:
    """Return the events from after `start` up to `stop`."""
    return Event.objects.filter(
        IsAfter(ORDER, start, is_descending=False), _IsUpTo(ORDER, stop, is_descending=True)
    )


class _IsUpTo(IsAfter):
    """A comparison of rows, (a, b, id) <= (x, y, z)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.sign = "<="


_page_queries: QueryCache[Event] = QueryCache(_select_page)


def _apply_filters(events: QuerySet[Event], filters: FeedFilters) -> QuerySet[Event]:
    """Return the events that match all filters. The values may be parameters of a query."""
    if filters.projects:
        events = events.filter(_in_projects(filters.projects))
    if filters.tasks:
        events = events.filter(_of_tasks(filters.tasks))
    if filters.actors:
        events = events.filter(Unindexed("actor_id", filters.actors))
    if filters.types:
        pairs = [Q(subject_type=subject_type, verb=verb) for subject_type, verb in filters.types]
        events = events.filter(reduce(or_, pairs))
    return events


def _in_projects(ids: Sequence[int]) -> Q:
    former = Cast(KeyTextTransform(0, KeyTransform("project", "changes")), BigIntegerField())
    left = Q(verb="moved") & Q(models.lookups.In(former, [*ids]))
    return Q(Unindexed("project_id", ids)) | left


def _of_tasks(ids: Sequence[int]) -> Q:
    """Return the condition that an event is of one of the tasks or of a row that belongs to one."""
    task_type = resource_types()["task"]
    condition = Q(Unindexed("subject_id", ids), subject_type=task_type.name)
    for resource_type in resource_types().values():
        path = resource_type.path_to(task_type.model)
        if path not in (None, "pk"):
            rows = resource_type.model._base_manager.filter(**{f"{path}__pk__in": ids})
            condition |= Q(subject_type=resource_type.name, subject_id__in=rows.values("pk"))
    return condition


class Unindexed(Func):
    """Whether a column has one of the values, without an index of the column.

    The events between two positions are few, and an index has them in their order. With an index of
    the column, the database would read and sort all events that have the value.
    """

    output_field = models.BooleanField()

    def __init__(self, column: str, values: Iterable[object]) -> None:
        super().__init__(F(column), *values)

    def as_sql(
        self,
        compiler: SQLCompiler,
        connection: BaseDatabaseWrapper,
        *args: str | None,
        **context: str | None,
    ) -> SqlAndParams:
        compiled = [compiler.compile(e) for e in self.get_source_expressions()]
        (column, _), *values = compiled
        params = [param for _, inner_params in compiled for param in inner_params]
        return f"({column} + 0) IN ({', '.join(sql for sql, _ in values)})", params
