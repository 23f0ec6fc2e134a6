"""
Replays the event log and compares the result with the rows.

Applying the events of a row, oldest first, gives its values. So a row that was changed, added or
lost by anything but the recorder differs from its events.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import cache
from itertools import groupby
from typing import Any, NamedTuple

from django.db import models
from django.db.models import Q

from taskflow.audit.links import read_linked_ids
from taskflow.audit.models import Event
from taskflow.audit.resource_types import ResourceType, resource_types
from taskflow.audit.retention import read_missing_until
from taskflow.audit.values import (
    REDACTED,
    are_equal_as_json,
    as_recorded,
    is_creation,
    is_deletion,
    recorded_fields,
)
from taskflow.tenancy import current_tenant_id, is_tenant_model

CHUNK = 500  # rows, and events, that are read at a time
MAX_SHOWN = 60  # characters of a value in a sentence
UNKNOWN: Any = object()  # stands for a value that is REDACTED


class Difference(NamedTuple):
    """A difference between a row and its events."""

    subject_id: int
    field: str  # empty if it concerns the whole row
    sentence: str


class EventRow(NamedTuple):
    """What a replay reads of an event."""

    pk: int
    subject_id: int
    version: int
    changes: dict[str, list[Any]]


def find_differences_from_log(resource_type: ResourceType) -> Iterator[Difference]:
    """Yield the differences between the events of this type and its rows, in the current tenant.

    Fields that the log does not contain are not compared: see `changed_without_event` and
    `filled_by_migration` of ResourceType. Neither are erased values. Needs constant memory. Run it
    in a unit of work that reads one snapshot, so that writes at the same time make no difference.
    """
    rows, after = _rows_of(resource_type.model), 0
    missing_until = read_missing_until()
    while True:
        chunk = list(rows.filter(pk__gt=after)[:CHUNK])
        is_last = len(chunk) < CHUNK
        until = None if is_last else chunk[-1].pk
        events = _read_events(resource_type, after, until)
        yield from _compare_chunk(resource_type, chunk, events, missing_until)
        if is_last:
            return
        after = chunk[-1].pk


def _rows_of(model: Any) -> models.QuerySet[Any]:
    """Return all rows of the current tenant, by id. Of the model Tenant, this is the tenant."""
    rows: models.QuerySet[Any] = model._base_manager.order_by("pk")
    return rows if is_tenant_model(model) else rows.filter(pk=current_tenant_id())


def _read_events(resource_type: ResourceType, after: int, until: int | None) -> Iterator[EventRow]:
    """Yield the events of the rows with after < id <= until, row by row, oldest first."""
    events = Event.objects.filter(subject_type=resource_type.name, subject_id__gt=after)
    if until is not None:
        events = events.filter(subject_id__lte=until)
    ordered = events.order_by("subject_id", "pk").values_list(
        "pk", "subject_id", "version", "changes"
    )
    page = [EventRow(*values) for values in ordered[:CHUNK]]
    while page:
        yield from page
        pk, subject_id, *_ = page[-1]
        rest = ordered.filter(
            Q(subject_id=subject_id, pk__gt=pk) | Q(subject_id__gt=subject_id),
            subject_id__gte=subject_id,  # lets the index skip what was read
        )
        page = [EventRow(*values) for values in rest[:CHUNK]] if len(page) == CHUNK else []


def _compare_chunk(
    resource_type: ResourceType,
    chunk: list[Any],
    events: Iterable[EventRow],
    missing_until: datetime | None,
) -> Iterator[Difference]:
    rows = {row.pk: row for row in chunk}
    links = {name: read_linked_ids(chunk, name) for name in _link_fields(resource_type.model)}
    for subject_id, group in groupby(events, lambda event: event.subject_id):
        replay = _Replay(resource_type, subject_id)
        for event in group:
            yield from replay.apply(event)
        row = rows.pop(subject_id, None)
        linked = {name: ids.get(subject_id, []) for name, ids in links.items()}
        yield from replay.compare(row, linked)
    if is_tenant_model(resource_type.model):  # registering a tenant records no event
        for pk, row in rows.items():
            if missing_until is None or row.created_at > missing_until:
                yield Difference(pk, "", "The row has no events.")


@cache
def _link_fields(model: type[models.Model]) -> dict[str, str]:
    """Return the many-to-many fields of the model, each with the type of the linked rows.

    Links that are rows of a resource type, such as memberships, have events of their own.
    """
    recorded = {resource_type.model for resource_type in resource_types().values()}
    return {
        field.name: str(field.related_model._meta.model_name)
        for field in model._meta.local_many_to_many
        if field.remote_field.through not in recorded
    }


@cache
def _compared_fields(model: type[models.Model]) -> set[str]:
    """Return the columns and links whose changes are recorded at rows of this model."""
    columns: set[str] = {name for name, _ in recorded_fields(model)}
    return columns | _link_fields(model).keys()


class _Replay:
    """The state of one row after the events that were applied so far."""

    def __init__(self, resource_type: ResourceType, subject_id: int) -> None:
        self.resource_type, self.subject_id = resource_type, subject_id
        self.model, self.links = resource_type.model, _link_fields(resource_type.model)
        # Links are also recorded at their other row, where they are no field.
        self.names = _compared_fields(self.model) - {*resource_type.changed_without_event}
        self.values: dict[str, Any] = {}
        self.version: int | None = None
        self.deleted_by: int | None = None  # the id of an event
        self.has_creation = False  # then a field that no event names is empty

    def apply(self, event: EventRow) -> Iterator[Difference]:
        """Apply the next event. Yield where it does not continue the state before it.

        An event without changes has the version that its transaction has read, as a sign-in, or is
        a version of its own, as a request to stop the worker of a task.
        """
        if not event.changes:
            if self.version and event.version == self.version + 1:
                self.version = event.version
            return
        deletes = is_deletion(self.model, event.changes)
        expected = self.version and self.version + (0 if deletes else 1)
        if expected and event.version != expected:
            text = f"Event {event.pk} has version {event.version}, after {self.version}."
            yield self._difference("version", text)
        self.version = event.version
        for name in sorted(event.changes.keys() & self.names):
            before, after = event.changes[name]
            yield from self._apply_change(event, name, before, after)
        self.has_creation |= is_creation(self.model, event.changes)
        self.deleted_by = event.pk if deletes else None
        if deletes:
            self.values, self.has_creation = {}, False

    def _apply_change(
        self, event: EventRow, name: str, before: Any, after: Any
    ) -> Iterator[Difference]:
        is_redacted = before == after == REDACTED
        if not is_redacted and not self._is_same(name, self.values.get(name, UNKNOWN), before):
            text = f"Event {event.pk} changes {_show(before)}; the events before it end with"
            yield self._difference(name, f"{text} {_show(self.values[name])}.")
        self.values[name] = UNKNOWN if is_redacted else after

    def compare(self, row: Any, linked: dict[str, list[int]]) -> Iterator[Difference]:
        """Yield the differences between the state and the row, which is None if there is none."""
        if row is None:
            # An import leaves out credentials, but not their events.
            if self.deleted_by is None and self.resource_type.restores_values:
                yield self._difference("", "The row is missing, and no event deletes it.")
        elif self.deleted_by is not None:
            yield self._difference("", f"The row exists, but event {self.deleted_by} deletes it.")
        else:
            yield from self._compare_values(row, linked)

    def _compare_values(self, row: Any, linked: dict[str, list[int]]) -> Iterator[Difference]:
        stored: dict[str, object] = {"version": row.version, **linked}
        for name, attname in recorded_fields(self.model):
            if name not in self.resource_type.changed_without_event:
                stored[name] = as_recorded(getattr(row, attname))
        replayed = self.values | {"version": self.version}
        for name, value in stored.items():
            is_unknown = not self.has_creation or name in self.resource_type.filled_by_migration
            expected = replayed.get(name, UNKNOWN if is_unknown else None)
            is_default = name not in replayed and value == self._default_of(name)
            if not is_default and not self._is_same(name, expected, value):
                text = f"The row has {_show(value)}, its events end with {_show(expected)}."
                yield self._difference(name, text)

    def _default_of(self, name: str) -> object:
        """Return the value that a migration has given to rows older than the column."""
        field: Any = self.model._meta.get_field(name)
        return None if field.many_to_many else as_recorded(field.get_default())

    def _is_same(self, name: str, replayed: Any, value: Any) -> bool:
        if replayed is UNKNOWN or (_is_empty(replayed) and _is_empty(value)):
            return True
        if name in self.links:
            different = set(replayed or ()) ^ set(value or ())
            return not different or different <= _find_deleted(self.links[name], different)
        return are_equal_as_json(replayed, value)

    def _difference(self, name: str, sentence: str) -> Difference:
        return Difference(self.subject_id, name, sentence)


def _find_deleted(name: str, ids: Iterable[int]) -> set[int]:
    """Return the rows of a type that an event deletes. Their links end without further events."""
    model = resource_types()[name].model
    events = Event.objects.filter(subject_type=name, subject_id__in=sorted(ids))
    named = events.values_list("subject_id", "changes")
    return {pk for pk, changes in named.iterator(CHUNK) if is_deletion(model, changes)}


def _is_empty(value: object) -> bool:
    """Return whether the creation of a row leaves out this value."""
    return value in (None, "", {}, [])


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
