"""
The write door. Every change to tenant data goes through these functions, inside a scope.

They stamp the tenant, save only what differs, and write the Event, so that a change and its
record are one transaction. Nothing else in TaskFlow calls save(), update() or delete() on tenant
data; test_architecture.py holds us to that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, TypeVar

from django.db import models, transaction
from django.db.models import F, Q
from django.utils import timezone

from taskflow.audit.actor import Actor
from taskflow.audit.conflicts import refuse_stale
from taskflow.audit.links import BATCH, link, linked_ids, relink
from taskflow.audit.locks import key_fields, lock_rows
from taskflow.audit.models import Event
from taskflow.audit.values import (
    as_recorded,
    attname_of,
    check_fields,
    differing,
    snapshot,
    value_of,
)
from taskflow.db.writes import update
from taskflow.tenancy import TenantError, TenantModel, with_tenant_parameter

M = TypeVar("M", bound=TenantModel)
_witnessed: ContextVar[list[Event] | None] = ContextVar("witnessed", default=None)
Entry = tuple[Any, str, dict[str, Any], int]  # row, verb, changes, version after them
UPDATED = 500  # rows per UPDATE with a value each, which costs the square of them


def create(actor: Actor, row: M, verb: str = "created", **sets: Iterable[models.Model]) -> M:
    """Save a new row in the actor's tenant; `sets` fills its many-to-many fields.

    Raises Invalid when a field does not accept its value.
    """
    create_all(actor, [row], verb, sets={name: [targets] for name, targets in sets.items()})
    return row


def create_all(
    actor: Actor,
    rows: Sequence[M],
    verb: str = "created",
    *,
    sets: Mapping[str, Sequence[Iterable[models.Model]]] | None = None,
) -> Sequence[M]:
    """Save new rows of one model with one INSERT, and their events with another.

    A row may point to one before it: each such level takes one INSERT more. So does each name in
    `sets`, which fills many-to-many fields: {name: [targets of each row]}.
    """
    if not rows:
        return rows
    model = type(rows[0])
    for row in rows:
        row.tenant_id = actor.tenant.pk
        check_fields(row)
    for generation in _generations(rows):
        model._base_manager.bulk_create(generation, batch_size=BATCH)
    born = [{n: [None, v] for n, v in snapshot(row).items()} for row in rows]
    for name, targets_of_each in (sets or {}).items():
        linked = [sorted({t.pk for t in targets}) for targets in targets_of_each]
        link(rows, name, linked)
        for changes, ids in zip(born, linked, strict=True):
            if ids:
                changes[name] = [[], ids]
    _record(actor, [(row, verb, changes, 1) for row, changes in zip(rows, born, strict=True)])
    return rows


def change(actor: Actor, row: M, verb: str = "changed", **values: Any) -> M:
    """Set the given fields, many-to-many too, and save those that differ from what is stored.

    The row is locked first, so `before` is the truth and versions have no gaps. Writes and
    records nothing when nothing differs: a retry is harmless. Raises NotFound when the row is
    gone, Invalid when a field does not accept its value, PreconditionFailed when the actor's
    precondition names the row and one of the fields has changed since.
    """
    change_each(actor, [(row, verb, values)])
    return row


def change_each(actor: Actor, edits: Sequence[tuple[M, str, dict[str, Any]]]) -> None:
    """Do what change() does for every (row, verb, values), in a constant number of statements.

    A row may be edited more than once, then by one and the same object: each edit that changes
    something has its own event and version.
    """
    if not edits:
        return
    rows = list({row.pk: row for row, _, _ in edits}.values())
    _refuse_strangers(actor, rows)
    model = type(rows[0])
    names = {name for _, _, values in edits for name in values}
    sets = {name for name in names if model._meta.get_field(name).many_to_many}
    # In one order everywhere, or two sets of changes could wait for each other.
    read = [attname_of(model, name) for name in sorted(names - sets)]
    relocated = {row.pk for row, _, values in edits if "project" in values}
    changes_key = bool(names & key_fields(model))
    stored = lock_rows(rows, read, changes_key=changes_key, relocated=relocated)
    linked = {name: linked_ids(rows, name) for name in sorted(sets)}
    before = {pk: dict(values) for pk, values in stored.items()}
    after = {name: dict(ids_by_row) for name, ids_by_row in linked.items()}
    entries = []
    for row, verb, values in edits:
        columns = {n: v for n, v in values.items() if n not in sets}
        changes = _assign(row, before[row.pk], columns)
        for name in values.keys() & sets:
            old, new = after[name].get(row.pk, []), sorted({t.pk for t in values[name]})
            after[name][row.pk] = new
            if old != new:
                changes[name] = [old, new]
        refuse_stale(actor, row, stored[row.pk]["version"], changes)
        if changes:
            _stamp(row)
            entries.append((row, verb, changes, row.version))
    for name in sorted(sets):
        relink(rows, name, linked[name], after[name])
    _save_changed(model, entries)
    _record(actor, entries)


def change_all(actor: Actor, rows: models.QuerySet[M], verb: str, **values: Any) -> int:
    """Give every row the same values, with one UPDATE and one INSERT. Return how many changed.

    Rows that already have them are left alone and not recorded.
    """
    model = rows.model
    same = Q(**{n: v for n, v in values.items() if v is not None})
    same &= Q(**{f"{n}__isnull": True for n, v in values.items() if v is None})
    locked = rows.select_for_update(of=("self",), no_key=not values.keys() & key_fields(model))
    found = list(locked.exclude(same).order_by("pk"))
    after = {n: as_recorded(value) for n, value in values.items()}
    entries = []
    for row in found:
        changes = differing({n: as_recorded(value_of(row, n)) for n in values}, after)
        refuse_stale(actor, row, row.version, changes)
        entries.append((row, verb, changes, row.version + 1))
    model._base_manager.filter(pk__in=[row.pk for row in found]).update(
        **values, updated_at=timezone.now(), version=F("version") + 1
    )
    _record(actor, entries)
    return len(found)


def remove(actor: Actor, row: TenantModel, verb: str = "deleted") -> None:
    """Delete a row. The record of it stays, with all it held and all that was linked to it."""
    _refuse_strangers(actor, [row])
    remove_all(actor, type(row)._base_manager.filter(pk=row.pk), verb)


def remove_all(actor: Actor, rows: models.QuerySet[M], verb: str = "deleted") -> int:
    """remove() for every row. Return how many there were.

    Raises django's ProtectedError when something else still points at one of them.
    """
    model = rows.model
    found = list(rows.order_by("pk").select_for_update(of=("self",)))
    deaths = _deaths(model, found)
    for row, held in deaths:
        refuse_stale(actor, row, row.version, held, is_removal=True)
    model._base_manager.filter(pk__in=[row.pk for row in found]).delete()
    _record(actor, [(row, verb, held, row.version) for row, held in deaths])
    return len(found)


def erase(actor: Actor, row: TenantModel, **values: Any) -> None:
    """Give fields values that say nothing, and wipe what they held from the row's record too.

    For personal data: the one change that is ever made to the log. Who did what, when and to which
    row stays as it was.
    """
    change(actor, row, "erased", **values)
    events = Event.objects.filter(subject_type=type(row).__name__.lower(), subject_id=row.pk)
    wiped = []
    for event in events.only("pk", "tenant", "changes"):
        if event.changes.keys() & values.keys():
            event.changes |= {n: ["…", "…"] for n in event.changes.keys() & values.keys()}
            wiped.append(event)
    Event.objects.bulk_update(wiped, ["changes"], batch_size=BATCH)


@contextmanager
def witness() -> Iterator[list[Event]]:
    """Yield a list that fills with the events recorded from now on."""
    events: list[Event] = []
    token = _witnessed.set(events)
    try:
        yield events
    finally:
        _witnessed.reset(token)


def lock(row: TenantModel, *names: str) -> None:
    """Keep others from changing the row until we commit; bring the fields `names` up to date.

    For rules that look at more than the door itself compares. Raises NotFound when it is gone.
    """
    lock_all([row], *names)


def lock_all(rows: Sequence[TenantModel], *names: str, changes_key: bool = False) -> None:
    """lock() for rows of one model, in the order of their ids.

    With `changes_key` for callers that are going to change a field of a unique key.
    """
    if rows:
        columns = [attname_of(type(rows[0]), n) for n in names]
        lock_rows(rows, columns, changes_key=changes_key)


@contextmanager
def savepoint() -> Iterator[None]:
    """What is recorded inside is forgotten with it when it fails."""
    witnessed = _witnessed.get()
    mark = len(witnessed or ())
    try:
        with transaction.atomic():
            yield
    except BaseException:
        del (witnessed or [])[mark:]
        raise


def take_turns(actor: Actor) -> None:
    """Let no other transaction of the tenant pass here until we commit.

    For rules that no row's lock can keep, such as "no circle of blockers", and for moving tasks:
    who takes turns before reading a task finds it where it was read once it is locked.
    """
    # Without the key: rows of the tenant are still inserted meanwhile.
    tenants = type(actor.tenant)._default_manager.select_for_update(no_key=True)
    tenants.filter(pk=actor.tenant.pk).values("pk").first()


# ---- rows ---------------------------------------------------------------------------------------


def _generations(rows: Sequence[M]) -> Iterable[list[M]]:
    """The rows, those first that the others point to."""
    up = [f.name for f in rows[0]._meta.concrete_fields if f.related_model is type(rows[0])]
    levels: dict[int, int] = {}  # by identity: what has no id yet has no hash
    for row in rows:
        above = (id(row._state.fields_cache.get(name)) for name in up)
        levels[id(row)] = 1 + max((levels.get(other, 0) for other in above), default=0)
    for level in sorted(set(levels.values())):
        yield [row for row in rows if levels[id(row)] == level]


def _assign(row: TenantModel, before: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """Put the values on the row, and into `before`, its columns so far.

    Return those that differ as {name: [before, after]}.
    """
    model = type(row)
    old = {n: before[attname_of(model, n)] for n in values}
    for name, value in values.items():
        setattr(row, name if isinstance(value, models.Model) else attname_of(model, name), value)
    new = {n: value_of(row, n) for n in values}
    changed = differing(old, new)
    check_fields(row, changed)
    before |= {attname_of(model, n): value_of(row, n) for n in changed}
    return {n: [as_recorded(old[n]), as_recorded(value_of(row, n))] for n in changed}


@cache
def _rows_of(model: type[M]) -> Callable[[], models.QuerySet[M]]:
    """Also those in the trash, of any tenant: to be compiled."""
    return with_tenant_parameter(lambda: model._base_manager.all())


def _stamp(row: TenantModel) -> None:
    """Make the row a version newer, of now."""
    row.updated_at = timezone.now()  # type: ignore[attr-defined]
    row.version += 1


def _save_changed(model: type[M], entries: Sequence[Entry]) -> None:
    """Save the columns that changed in any row; all of them are locked, so none is stale."""
    rows = list({row.pk: row for row, *_ in entries}.values())
    many = {f.name for f in model._meta.many_to_many}
    names = {name for _, _, changes, _ in entries for name in changes} - many
    names |= {"updated_at", "version"}
    if len(rows) == 1:
        saved = {attname_of(model, name): value_of(rows[0], name) for name in names}
        update(_rows_of(model), rows[0].pk, saved)
    elif rows:
        model._base_manager.bulk_update(rows, sorted(names), batch_size=UPDATED)


# ---- events -------------------------------------------------------------------------------------


def _record(actor: Actor, entries: Sequence[Entry]) -> None:
    if not entries:
        return
    events = []
    for row, verb, changes, version in entries:
        _refuse_strangers(actor, [row])
        model = type(row)
        subject = (model.__name__.lower(), row.pk)
        events.append(
            Event(
                tenant_id=actor.tenant.pk,
                actor_id=actor.member.pk if actor.member else None,
                operator_id=actor.user.pk if actor.is_operator else None,
                on_behalf_of_id=actor.on_behalf_of.pk if actor.on_behalf_of else None,
                via=actor.via,
                request_id=actor.request_id,
                reason=actor.reason,
                verb=verb,
                subject_type=subject[0],
                subject_id=subject[1],
                version=version,
                project_id=getattr(row, model.project_field) if model.project_field else None,
                changes={n: c for n, c in changes.items() if n not in model.unrecorded}
                | {n: ["…", "…"] for n in changes if n in model.unrecorded},
                undoes=actor.undoing.get(subject),
            )
        )
    witnessed = _witnessed.get()
    if len(events) == 1 and witnessed is None and actor.precondition is None:
        Event.objects.create_later(events[0])
    else:
        Event.objects.bulk_create(events, batch_size=BATCH)
    type(entries[0][0]).note_changes((row, changes) for row, _, changes, _ in entries)
    if actor.precondition:
        actor.precondition.recorded += [event.pk for event in events]
    if witnessed is not None:
        for event in events:
            event.actor, event.on_behalf_of = actor.member, actor.on_behalf_of
        witnessed += events


def _refuse_strangers(actor: Actor, rows: Iterable[TenantModel]) -> None:
    for row in rows:
        if row.tenant_id != actor.tenant.pk:
            raise TenantError(f"{actor.user} in {actor.tenant} reached {row!r} of another tenant")


def _deaths(model: type[M], rows: list[M]) -> list[tuple[M, dict[str, Any]]]:
    held = [{n: [v, None] for n, v in snapshot(row).items()} for row in rows]
    ends: list[Any] = [*model._meta.local_many_to_many, *model._meta.related_objects]
    for name in sorted(end.name for end in ends if end.many_to_many):
        linked = linked_ids(rows, name)
        for row, changes in zip(rows, held, strict=True):
            if ids := linked.get(row.pk):
                changes[name] = [ids, []]
    return list(zip(rows, held, strict=True))
