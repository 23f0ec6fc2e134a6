"""Writes the events of changes. Only the recorder calls record_events()."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from django.db import transaction

from taskflow.audit.actor import Actor
from taskflow.audit.consequences import find_consequences
from taskflow.audit.links import BATCH
from taskflow.audit.models import Event
from taskflow.audit.values import REDACTED
from taskflow.db.commits import report_after_commit
from taskflow.db.rows import build
from taskflow.tenancy import Changes, TenantError, TenantModel

log = logging.getLogger("taskflow.auth")
RowT = TypeVar("RowT", bound=TenantModel)
_captured: ContextVar[list[Event] | None] = ContextVar("captured", default=None)
RecordedChange = tuple[RowT, str, Changes, int]  # row, verb, changes, version after them


@contextmanager
def capture_events() -> Iterator[list[Event]]:
    """Yield a list to which every event that is recorded inside the block is added."""
    events: list[Event] = []
    token = _captured.set(events)
    try:
        yield events
    finally:
        _captured.reset(token)


@contextmanager
def savepoint() -> Iterator[None]:
    """Open a savepoint. If it is rolled back, capture_events() drops the events recorded in it."""
    captured = _captured.get()
    count_before = len(captured or ())
    try:
        with transaction.atomic():
            yield
    except BaseException:
        del (captured or [])[count_before:]
        raise


def record_events(actor: Actor, entries: Sequence[RecordedChange[RowT]]) -> None:
    """Write the events of changes of locked rows of one model.

    Raises the Problem of a row that refuses its change: see TenantModel.follow_changes().
    """
    if not entries:
        return
    model = type(entries[0][0])
    model.follow_changes(actor, [(row, changes) for row, _, changes, _ in entries])
    refuse_rows_of_other_tenants(actor, [row for row, *_ in entries])
    events = _values_of_events(actor, model, entries)
    if model.records_address:
        _log_after_commit(events)
    report_after_commit(actor.tenant.pk)
    if len(events) == 1 and _captured.get() is None and actor.precondition is None:
        Event.objects.defer_insert(events[0])
    else:
        _insert_events(actor, [build(Event, values) for values in events])
    model.update_dependents((row, changes) for row, _, changes, _ in entries)
    _record_consequences(actor, entries)


def _values_of_events(
    actor: Actor, model: type[TenantModel], entries: Sequence[RecordedChange[RowT]]
) -> list[dict[str, Any]]:
    """Return the columns of the events, by attribute name."""
    tenant, member, token = actor.tenant, actor.member, actor.token
    resource_type, hidden = model.__name__.lower(), model.unrecorded
    shared = {
        "tenant_id": tenant.pk,
        "epoch": tenant.event_epoch,
        "actor_id": member.pk if member else None,
        "operator_id": None if member else actor.user.pk,
        "on_behalf_of_id": actor.on_behalf_of.pk if actor.on_behalf_of else None,
        "token_issued_by_id": token.issued_by_id if token else None,
        "via": actor.via,
        "request_id": actor.request_id,
        "reason": actor.reason,
        "address": actor.address or None if model.records_address else None,
        "subject_type": resource_type,
        "created_at": datetime.now(UTC),
    }
    events = []
    projects = _projects_after(entries)
    for (row, verb, changes, version), project_id in zip(entries, projects, strict=True):
        events.append(
            {
                **shared,
                "verb": verb,
                "subject_id": row.pk,
                "version": version,
                "project_id": project_id,
                "was_published": _was_published(row, changes),
                "changes": changes if hidden.isdisjoint(changes) else _redact(changes, hidden),
                # An event that follows from an undone change of another row undoes nothing.
                "undoes": actor.undoing.get((resource_type, row.pk)) if changes else None,
            }
        )
    return events


def _redact(changes: Changes, hidden: Collection[str]) -> Changes:
    """Return the changes without the values of the fields in `hidden`."""
    return {n: c for n, c in changes.items() if n not in hidden} | {
        n: [REDACTED, REDACTED] for n in changes if n in hidden
    }


def _insert_events(actor: Actor, events: list[Event]) -> None:
    """Insert events whose ids or objects the caller of the recorder reads later."""
    Event.objects.bulk_create(events, batch_size=BATCH)
    if actor.precondition:
        actor.precondition.event_ids += [event.pk for event in events]
    captured = _captured.get()
    if captured is not None:
        for event in events:
            event.actor, event.on_behalf_of = actor.member, actor.on_behalf_of
            event.token_issued_by = actor.token and actor.token.issued_by
        captured += events


def _record_consequences(actor: Actor, entries: Sequence[RecordedChange[RowT]]) -> None:
    """Write the events of other rows that follow from the changes: see consequences.py."""
    changed = [(row, changes) for row, _, changes, _ in entries if changes]
    following = find_consequences(type(entries[0][0]), changed) if changed else ()
    if following:
        record_events(actor, [(row, verb, {}, row.version) for row, verb in following])


def _projects_after(entries: Sequence[RecordedChange[RowT]]) -> list[int | None]:
    """Return the id of the row's project after each of the changes.

    A row that is changed and then moved by one request has the project of its last change already.
    """
    name = type(entries[0][0]).project_field
    if name is None:
        return [None] * len(entries)
    if len(entries) == 1:
        return [getattr(entries[0][0], name)]
    before_later_move: dict[int, int] = {}  # the project, by the id of the row
    projects: list[int | None] = []
    for row, _verb, changes, _version in reversed(entries):
        projects.append(before_later_move.get(row.pk, getattr(row, name)))
        former, _after = changes.get("project", (None, None))
        if isinstance(former, int):
            before_later_move[row.pk] = former
    return projects[::-1]


def _was_published(row: TenantModel, changes: Changes) -> bool | None:
    """Return whether the values in `changes` are those of a published row; None without drafts.

    The event that publishes a row contains no other values. If it does, as after an undo, they are
    those of the draft too.
    """
    name = type(row).published_field
    if name is None:
        return None
    states = changes.get(name, [getattr(row, name)])
    if changes.keys() <= {name, *type(row).derived}:
        return True
    return all(is_published is not False for is_published in states)


def _log_after_commit(events: Iterable[Mapping[str, Any]]) -> None:
    """Write a line of the log for each change of an account by a client, if it is committed.

    A dry run is rolled back, so it writes none.
    """
    for event in events:
        if event["address"] and event["changes"]:
            fields = {
                "request_id": event["request_id"],
                "tenant": event["tenant_id"],
                "user": event["actor_id"],
                "client": event["address"],
            }
            message = f"{event['subject_type']} {event['subject_id']} {event['verb']}"
            transaction.on_commit(partial(log.info, message, extra=fields))


def refuse_rows_of_other_tenants(actor: Actor, rows: Iterable[TenantModel]) -> None:
    """Raise TenantError if one of the rows belongs to another tenant than the actor's."""
    for row in rows:
        if row.tenant_id != actor.tenant.pk:
            raise TenantError(f"{actor.user} of {actor.tenant} changed {row!r} of another tenant.")
