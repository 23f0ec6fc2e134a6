"""
The recorder. Every change to tenant data goes through these functions, inside a unit of work.

They set the tenant, save only values that differ, and write the event in the same transaction as
the change. No other code in TaskFlow calls save(), update() or delete() on tenant data, except the
calls that are listed in taskflow/tests/test_architecture.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeVar

from django.db import models
from django.db.models import F, Q, Value
from django.db.models.functions import Cast, Concat
from django.utils import timezone

from taskflow.audit.actor import Actor
from taskflow.audit.conflicts import check_precondition
from taskflow.audit.event_log import RecordedChange, record_events, refuse_rows_of_other_tenants
from taskflow.audit.links import BATCH, add_links, read_linked_ids, replace_links
from taskflow.audit.locks import LockMode, add_row_lock, lock_mode_for, lock_rows
from taskflow.audit.merge_patch import MergePatch, merge_if_patch
from taskflow.audit.models import Via
from taskflow.audit.quotas import check_quotas, check_quotas_of_changes
from taskflow.audit.text_size import check_text_size, measure_text
from taskflow.audit.values import (
    FieldValues,
    as_recorded,
    attname_of,
    check_fields,
    find_differences,
    read_column,
    snapshot,
)
from taskflow.db.columns import columns_of
from taskflow.db.computed import computed_fields, computed_values, set_computed
from taskflow.db.many_rows import update_rows
from taskflow.db.writes import update
from taskflow.tenancy import Changes, TenantModel, with_tenant_parameter

RowT = TypeVar("RowT", bound=TenantModel)
StoredColumns = dict[int, dict[str, Any]]  # by the row's id and the column's name
UPDATE_BATCH = 2000  # rows per UPDATE
UNUSED = "\x1f"  # no text may begin with this character
LONG_TEXTS = 100_000  # bytes, which take about as long as ten more statements


def record(actor: Actor, row: TenantModel, verb: str) -> None:
    """Record an event about a row that it does not change, such as a sign-in. One statement."""
    record_events(actor, [(row, verb, {}, row.version)])


def record_version(actor: Actor, row: TenantModel, verb: str) -> None:
    """Record an event about a locked row that none of its columns shows, as a new version.

    For types whose versions number the events. One statement, which is sent with the next one.
    """
    _bump_version(row)
    update(_rows_of(type(row)), row.pk, {"version": row.version, "updated_at": row.updated_at})
    record(actor, row, verb)


def create(
    actor: Actor, row: RowT, verb: str = "created", **link_fields: Iterable[models.Model]
) -> RowT:
    """Save a new row in the actor's tenant. `link_fields` are the rows of its many-to-many fields.

    Raises Invalid when a field does not accept its value.
    """
    create_all(
        actor, [row], verb, link_fields={name: [targets] for name, targets in link_fields.items()}
    )
    return row


def create_all(
    actor: Actor,
    rows: Sequence[RowT],
    verb: str | Sequence[str] = "created",
    *,
    link_fields: Mapping[str, Sequence[Iterable[models.Model]]] | None = None,
) -> Sequence[RowT]:
    """Save new rows of one model with one INSERT, and their events with another.

    `verb` is that of all events, or a list with the verb of each. A row may refer to a row before
    it; each such level needs one more INSERT. So does each
    many-to-many field in `link_fields`: {name: [rows linked to the first row, to the second, …]}.
    The event of a row that keeps an earlier time of creation contains that time.
    """
    if not rows:
        return rows
    model = type(rows[0])
    for row in rows:
        row.tenant_id = actor.tenant.pk
        check_fields(row)
    check_quotas(actor, rows)
    kept_times = [row.__dict__.get("created_at") for row in rows]
    for generation in _generations(rows):
        model._base_manager.bulk_create(generation, batch_size=BATCH)
    created = [{n: [None, v] for n, v in snapshot(row).items()} for row in rows]
    for changes, time in zip(created, kept_times, strict=True):
        if time is not None:
            changes["created_at"] = [None, as_recorded(time)]
    for name, targets_of_each in (link_fields or {}).items():
        linked = [sorted({t.pk for t in targets}) for targets in targets_of_each]
        add_links(rows, name, linked)
        for changes, ids in zip(created, linked, strict=True):
            if ids:
                changes[name] = [[], ids]
    verbs = [verb] * len(rows) if isinstance(verb, str) else verb
    entries = zip(rows, verbs, created, strict=True)
    record_events(actor, [(row, verb, changes, row.version) for row, verb, changes in entries])
    return rows


def change(actor: Actor, row: RowT, verb: str = "changed", **values: object) -> RowT:
    """Set the given fields, also many-to-many fields, and save those that differ.

    The row is locked first, so that the recorded values are the stored ones and versions have no
    gaps. If nothing differs, nothing is written or recorded. Raises
    NotFound when the row no longer exists, Invalid when a field does not accept its value, and
    PreconditionFailed when the actor's precondition names the row and one of the fields has changed
    since that version.
    """
    change_each(actor, [(row, verb, values)])
    return row


def change_each(actor: Actor, edits: Sequence[tuple[RowT, str, FieldValues]]) -> None:
    """Like change(), for each (row, verb, values), with a constant number of statements.

    A row may be edited more than once, but must be the same object each time. Each edit that
    changes something has its own event and version.
    """
    if not edits:
        return
    rows = list({row.pk: row for row, _, _ in edits}.values())
    refuse_rows_of_other_tenants(actor, rows)
    names = {name for _, _, values in edits for name in values}
    relocated = {row.pk for row, _, values in edits if "project" in values}
    change_locked(actor, edits, lock_to_change(rows, names, relocated=relocated))


def exchange_values(
    actor: Actor, edits: Sequence[tuple[RowT, str, FieldValues]], unique: Collection[str]
) -> None:
    """Like change_each(), for rows that take unique values from each other, each at its own edit.

    The fields `unique` must be texts. First they get values in the database that no row can have,
    so that none is taken. One statement more for each of these fields.
    """
    rows = [row for row, _, _ in edits]
    refuse_rows_of_other_tenants(actor, rows)
    model = type(rows[0])
    stored = lock_to_change(rows, {name for _, _, values in edits for name in values})
    unused = Concat(Value(UNUSED), Cast("pk", models.TextField()))
    for name in unique:
        changed = model._base_manager.filter(pk__in=[r.pk for r, _, v in edits if name in v])
        columns = (name, *(f.name for f in computed_fields(model) if f.source == name))
        changed.update(**dict.fromkeys(columns, unused))
    change_locked(actor, edits, stored)


def lock_to_change(
    rows: Sequence[RowT], names: Iterable[str], *, relocated: Collection[int] = ()
) -> StoredColumns:
    """Lock rows of one model in the order of their ids, and refresh the fields that may be changed.

    Many-to-many fields are skipped. Return what change_locked() compares with. See lock_rows().
    """
    model = type(rows[0])
    columns = [attname_of(model, n) for n in names if not model._meta.get_field(n).many_to_many]
    return lock_rows(rows, columns, mode=lock_mode_for(model, names), relocated=relocated)


def change_locked(
    actor: Actor, edits: Sequence[tuple[RowT, str, FieldValues]], stored: StoredColumns
) -> None:
    """Like change_each(), for rows that the caller has locked with lock_to_change()."""
    if not edits:
        return
    rows = list({row.pk: row for row, _, _ in edits}.values())
    refuse_rows_of_other_tenants(actor, rows)
    model = type(rows[0])
    names = {name for _, _, values in edits for name in values}
    link_fields = {name for name in names if model._meta.get_field(name).many_to_many}
    linked = {name: read_linked_ids(rows, name) for name in sorted(link_fields)}
    before = {pk: dict(values) for pk, values in stored.items()}
    after = {name: dict(ids_by_row) for name, ids_by_row in linked.items()}
    entries = []
    for row, verb, values in edits:
        columns = {n: v for n, v in values.items() if n not in link_fields}
        changes = _assign(row, before[row.pk], columns)
        for name in values.keys() & link_fields:
            old, new = after[name].get(row.pk, []), sorted({t.pk for t in values[name]})
            after[name][row.pk] = new
            if old != new:
                changes[name] = [old, new]
        patches = {n: v for n, v in columns.items() if isinstance(v, MergePatch)}
        check_precondition(actor, row, stored[row.pk]["version"], changes, patches=patches)
        if changes:
            _bump_version(row)
            entries.append((row, verb, changes, row.version))
    if len(entries) > 1 and actor.via is not Via.COMMAND:
        check_text_size((row, changes) for row, _, changes, _ in entries)
    check_quotas_of_changes(actor, ((row, changes) for row, _, changes, _ in entries))
    for name in sorted(link_fields):
        replace_links(rows, name, linked[name], after[name])
    _save_changed(model, entries)
    record_events(actor, entries)


def change_all(actor: Actor, rows: models.QuerySet[RowT], verb: str, **values: object) -> int:
    """Set the same values on every row, with one UPDATE and one INSERT. Return how many changed.

    Rows that already have these values are neither changed nor recorded.
    """
    model = rows.model
    same = Q(**{n: v for n, v in values.items() if v is not None})
    same &= Q(**{f"{n}__isnull": True for n, v in values.items() if v is None})
    locked = add_row_lock(rows, lock_mode_for(model, values))
    locked_rows = list(locked.exclude(same).order_by("pk"))
    after = {n: as_recorded(value) for n, value in values.items()}
    entries = []
    for row in locked_rows:
        changes = find_differences({n: as_recorded(read_column(row, n)) for n in values}, after)
        check_precondition(actor, row, row.version, changes)
        entries.append((row, verb, changes, row.version + 1))
    check_quotas_of_changes(actor, ((row, changes) for row, _, changes, _ in entries))
    model._base_manager.filter(pk__in=[row.pk for row in locked_rows]).update(
        **values,
        **computed_values(model, values),
        updated_at=timezone.now(),
        version=F("version") + 1,
    )
    record_events(actor, entries)
    return len(locked_rows)


def remove(actor: Actor, row: TenantModel, verb: str = "deleted") -> None:
    """Delete a row. Its last event contains its values and links."""
    refuse_rows_of_other_tenants(actor, [row])
    remove_all(actor, type(row)._base_manager.filter(pk=row.pk), verb)


def remove_all(actor: Actor, rows: models.QuerySet[RowT], verb: str = "deleted") -> int:
    """Like remove(), for every row. Return the number of rows.

    Raises Django's ProtectedError when a row is still referenced.
    """
    model = rows.model
    locked_rows = list(rows.order_by("pk").select_for_update(of=("self",)))
    deletions = _deletion_entries(model, locked_rows)
    for row, values_before in deletions:
        check_precondition(actor, row, row.version, values_before, is_removal=True)
    model._base_manager.filter(pk__in=[row.pk for row in locked_rows]).delete()
    record_events(
        actor, [(row, verb, values_before, row.version) for row, values_before in deletions]
    )
    return len(locked_rows)


def lock(row: TenantModel, *names: str, mode: LockMode = LockMode.UPDATE) -> None:
    """Prevent changes of the row until the transaction ends, and refresh the fields `names`.

    For rules that read more columns than the recorder itself locks. Raises NotFound when the row no
    longer exists.
    """
    lock_all([row], *names, mode=mode)


def lock_all(rows: Sequence[TenantModel], *names: str, mode: LockMode = LockMode.UPDATE) -> None:
    """Like lock(), for rows of one model, in the order of their ids. One statement."""
    if rows:
        columns = [attname_of(type(rows[0]), n) for n in names]
        lock_rows(rows, columns, mode=mode)


def serialize_graph_changes(actor: Actor) -> None:
    """Make every other transaction of the tenant that calls this wait until this one ends.

    For rules that row locks cannot protect, such as "no circle of blockers". Also for moving tasks:
    a task that is read after this call is still in the same project when it is locked.
    """
    # Not FOR UPDATE, which would make every INSERT of a row of the tenant wait.
    tenants = type(actor.tenant)._default_manager.select_for_update(no_key=True)
    tenants.filter(pk=actor.tenant.pk).values("pk").first()


# ---- rows ---------------------------------------------------------------------------------------


def _generations(rows: Sequence[RowT]) -> Iterable[list[RowT]]:
    """Yield the rows in groups, so that each group refers only to rows of the groups before it."""
    if len(rows) == 1:
        yield [*rows]
        return
    parent_fields = [f.name for f in columns_of(type(rows[0])) if f.related_model is type(rows[0])]
    levels: dict[int, int] = {}  # by identity: a row without an id has no hash
    for row in rows:
        parents = (id(row._state.fields_cache.get(name)) for name in parent_fields)
        levels[id(row)] = 1 + max((levels.get(other, 0) for other in parents), default=0)
    for level in sorted(set(levels.values())):
        yield [row for row in rows if levels[id(row)] == level]


def _assign(
    row: TenantModel, before: dict[str, object], values: FieldValues
) -> dict[str, Sequence[object]]:
    """Set the values on the row and in `before`, which contains its current columns.

    A MergePatch is merged into the current value. Return the values that differ as {name: [before,
    after]}.
    """
    model = type(row)
    old = {n: before[attname_of(model, n)] for n in values}
    for name, given in values.items():
        value = merge_if_patch(given, old[name])
        setattr(row, name if isinstance(value, models.Model) else attname_of(model, name), value)
    new = {n: read_column(row, n) for n in values}
    changed = find_differences(old, new)
    check_fields(row, changed)
    before |= {attname_of(model, n): read_column(row, n) for n in changed}
    return {n: [as_recorded(old[n]), as_recorded(read_column(row, n))] for n in changed}


@cache
def _rows_of(model: type[RowT]) -> Callable[[], models.QuerySet[RowT]]:
    """Return a function that selects all rows of the model in any tenant, also in the trash."""
    return with_tenant_parameter(lambda: model._base_manager.all())


def _bump_version(row: TenantModel) -> None:
    """Increase the version by one, and set updated_at to the current time."""
    row.updated_at = datetime.now(UTC)
    row.version += 1


def _save_changed(model: type[RowT], entries: Sequence[RecordedChange[RowT]]) -> None:
    """Save the columns that have changed in any of the rows. At most two statements.

    If texts of some rows have changed, saving the same columns of the other rows would write their
    entries of the search index again. If those have long texts, they are saved apart.
    """
    sources = {field.source for field in computed_fields(model)}
    has_texts = {row.pk for row, _, changes, _ in entries if not sources.isdisjoint(changes)}
    others = [entry for entry in entries if entry[0].pk not in has_texts] if has_texts else []
    if sum(measure_text(getattr(row, n)) for row, *_ in others for n in sources) < LONG_TEXTS:
        _save_rows(model, entries)
    else:
        _save_rows(model, [entry for entry in entries if entry[0].pk in has_texts])
        _save_rows(model, others)


def _save_rows(model: type[RowT], entries: Sequence[RecordedChange[RowT]]) -> None:
    """Save the columns that have changed in any of the rows, for all of these rows.

    All rows are locked, so no other transaction can have changed a column.
    """
    rows = list({row.pk: row for row, *_ in entries}.values())
    link_fields_of_model = {f.name for f in model._meta.many_to_many}
    names = {name for _, _, changes, _ in entries for name in changes} - link_fields_of_model
    names |= {"updated_at", "version", *set_computed(model, rows, names)}
    if len(rows) == 1:
        stored = rows[0].__dict__
        saved = {name: stored[name] for name in [attname_of(model, name) for name in names]}
        update(_rows_of(model), rows[0].pk, saved)
    elif rows:
        for start in range(0, len(rows), UPDATE_BATCH):
            update_rows(rows[start : start + UPDATE_BATCH], "tenant_id", sorted(names))


def _deletion_entries(model: type[RowT], rows: list[RowT]) -> list[tuple[RowT, Changes]]:
    """Return each row with all its values and links, as {name: [before, empty]}.

    The time of creation is among them, so that an undo can create the row again with it.
    """
    before = [{n: [v, None] for n, v in snapshot(row).items()} for row in rows]
    for row, changes in zip(rows, before, strict=True):
        changes["created_at"] = [as_recorded(read_column(row, "created_at")), None]
    ends: list[Any] = [*model._meta.local_many_to_many, *model._meta.related_objects]
    for name in sorted(end.name for end in ends if end.many_to_many):
        linked = read_linked_ids(rows, name)
        for row, changes in zip(rows, before, strict=True):
            if ids := linked.get(row.pk):
                changes[name] = [ids, []]
    return list(zip(rows, before, strict=True))
