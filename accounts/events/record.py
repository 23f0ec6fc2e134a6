"""
The write door. Every change to tenant data goes through these functions, inside a scope.

They stamp the tenant, save only what differs, and write the Event, so that a change and its
record are one transaction. Nothing else in TaskFlow calls save(), update() or delete() on tenant
data; test_architecture.py holds us to that.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any, TypeVar, cast

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F
from django.utils import timezone

from accounts.actor import Actor
from accounts.events.models import Event
from accounts.tenancy import TenantError, TenantModel
from taskflow.errors import Invalid, NotFound

M = TypeVar("M", bound=TenantModel)
BATCH = 500  # rows per INSERT
UNRECORDED = {"id", "tenant", "created_at", "updated_at", "version"}


def create(actor: Actor, row: M, verb: str = "created", **sets: Iterable[models.Model]) -> M:
    """Save a new row in the actor's tenant; `sets` fills its many-to-many fields.

    Raises Invalid when a field does not accept its value.
    """
    create_all(actor, [row], verb, sets=sets)
    return row


def create_all(
    actor: Actor,
    rows: Sequence[M],
    verb: str = "created",
    *,
    sets: dict[str, Iterable[models.Model]] | None = None,
) -> Sequence[M]:
    """Save new rows of one model with one INSERT, and their events with another."""
    if not rows:
        return rows
    model = type(rows[0])
    for row in rows:
        row.tenant_id = actor.tenant.pk
        _check_fields(row)
    model._default_manager.bulk_create(rows, batch_size=BATCH)
    linked = {name: list(targets) for name, targets in (sets or {}).items()}
    for row in rows:
        for name, targets in linked.items():
            _link(row, name, [t.pk for t in targets])
    _record(actor, model, [(row, verb, _birth(row, linked)) for row in rows])
    return rows


def change(actor: Actor, row: M, verb: str = "changed", **values: Any) -> M:
    """Set the given fields, many-to-many too, and save those that differ from what is stored.

    The row is locked first, so `before` is the truth and versions have no gaps. Writes and
    records nothing when nothing differs: a retry is harmless. Raises NotFound when the row is
    gone, Invalid when a field does not accept its value.
    """
    _refuse_strangers(actor, [row])
    _refuse_strangers(actor, [row])
    model = type(row)
    sets = {n: v for n, v in values.items() if model._meta.get_field(n).many_to_many}
    columns = {n: v for n, v in values.items() if n not in sets}
    changes = _assign(row, columns)
    saved = {_attname(model, n): _value(row, n) for n in changes}
    for name, targets in sets.items():
        before, after = _linked(row, name), sorted(t.pk for t in targets)
        if before != after:
            _unlink(row, name, set(before) - set(after))
            _link(row, name, set(after) - set(before))
            changes[name] = [before, after]
    if changes:
        saved |= _stamp(row)
        model._default_manager.filter(pk=row.pk).update(**saved)
        _record(actor, model, [(row, verb, changes)])
    return row


def change_all(actor: Actor, rows: models.QuerySet[M], verb: str, **values: Any) -> int:
    """Give every row the same values, with one UPDATE and one INSERT. Return how many changed.

    Rows that already have them are left alone and not recorded.
    """
    model = rows.model
    names = list(values)
    same = models.Q(**{n: v for n, v in values.items() if v is not None})
    same &= models.Q(**{f"{n}__isnull": True for n, v in values.items() if v is None})
    found = list(rows.exclude(same).order_by("pk").select_for_update(of=("self",)))
    befores = [{n: _plain(_value(row, n)) for n in names} for row in found]
    stamp = {"updated_at": timezone.now()}
    if _is_versioned(model):
        stamp["version"] = F("version") + 1  # type: ignore[assignment]
    ids = [row.pk for row in found]
    model._default_manager.filter(pk__in=ids).update(**values, **stamp)
    _record(
        actor,
        model,
        [
            (row, verb, _differing(before, {n: _plain(values[n]) for n in names}))
            for row, before in zip(found, befores, strict=True)
        ],
    )
    return len(found)


def remove(actor: Actor, row: TenantModel, verb: str = "deleted", **links: list[int]) -> None:
    """Delete a row. The record of it, with all it held, stays.

    `links` are the ids of rows that were linked to it and lose that link, by name.
    """
    _refuse_strangers(actor, [row])
    rows = type(row)._default_manager.filter(pk=row.pk)
    remove_all(actor, rows, verb, also={name: [ids, []] for name, ids in links.items() if ids})


def remove_all(
    actor: Actor,
    rows: models.QuerySet[M],
    verb: str = "deleted",
    *,
    also: dict[str, list[Any]] | None = None,
) -> int:
    """Delete rows and record each with what it held. Return how many there were.

    Raises django's ProtectedError when something else still points at one of them.
    """
    model = rows.model
    found = list(rows.order_by("pk").select_for_update(of=("self",)))
    deaths = _deaths(model, found)
    model._default_manager.filter(pk__in=[row.pk for row in found]).delete()
    _record(actor, model, [(row, verb, held | (also or {})) for row, held in deaths])
    return len(found)


def lock(row: TenantModel, *names: str) -> None:
    """Keep others from changing the row until we commit; bring the fields `names` up to date.

    For rules that look at more than the door itself compares. Raises NotFound when it is gone.
    """
    _lock(row, [_attname(type(row), n) for n in names])


# ---- rows ---------------------------------------------------------------------------------------


def _check_fields(row: TenantModel, names: Iterable[str] | None = None) -> None:
    """Field validators only: keys and unique rules are the database's to check."""
    fields = row._meta.concrete_fields
    skipped = {f.name for f in fields if f.is_relation or f.generated}
    if names is not None:
        skipped |= {f.name for f in fields} - set(names)
    try:
        row.clean_fields(exclude=skipped)
    except ValidationError as error:
        errors = [
            {"pointer": f"#/{name}", "code": "invalid", "detail": " ".join(messages)}
            for name, messages in error.message_dict.items()
        ]
        raise Invalid(str(errors[0]["detail"]), errors=errors) from None


def _assign(row: TenantModel, values: dict[str, Any]) -> dict[str, list[Any]]:
    """Lock the row, put the values on it, return those that differ as {name: [before, after]}."""
    model = type(row)
    stored = _lock(row, [_attname(model, n) for n in values])
    for name, value in values.items():
        setattr(row, name if isinstance(value, models.Model) else _attname(model, name), value)
    before = {n: stored[_attname(model, n)] for n in values}
    differing = _differing(before, {n: _value(row, n) for n in values})
    _check_fields(row, differing)
    return {n: [_plain(before[n]), _plain(_value(row, n))] for n in differing}


def _differing(before: dict[str, Any], after: dict[str, Any]) -> dict[str, list[Any]]:
    return {n: [before[n], after[n]] for n in after if not _is_same(before[n], after[n])}


def _is_same(before: Any, after: Any) -> bool:
    """As JSON has it, where true is not 1: Python alone would drop such a change."""
    if isinstance(before, dict) and isinstance(after, dict):
        return before.keys() == after.keys() and all(_is_same(before[k], after[k]) for k in before)
    if isinstance(before, list) and isinstance(after, list):
        return len(before) == len(after) and all(map(_is_same, before, after))
    return bool(before == after) and isinstance(before, bool) == isinstance(after, bool)


def _lock(row: TenantModel, columns: list[str]) -> dict[str, Any]:
    """Keep others from changing the row until we commit; bring it up to date."""
    model = type(row)
    columns = [*columns, *(["version"] if _is_versioned(model) else [])]
    locked = model._default_manager.filter(pk=row.pk).select_for_update()
    stored = locked.values("pk", *columns).first()
    if stored is None:
        raise NotFound("It has been deleted meanwhile.")
    for column in columns:
        setattr(row, column, stored[column])
    return cast(dict[str, Any], stored)


def _stamp(row: TenantModel) -> dict[str, Any]:
    """Make the row a version newer, of now. Return what to save for it."""
    values: dict[str, Any] = {"updated_at": timezone.now()}
    if _is_versioned(type(row)):
        values["version"] = row.version + 1  # type: ignore[attr-defined]
    for name, value in values.items():
        setattr(row, name, value)
    return values


def _is_versioned(model: type[models.Model]) -> bool:
    return any(f.name == "version" for f in model._meta.concrete_fields)


# ---- many-to-many, through tables that belong to the tenant too ---------------------------------


def _through(row: TenantModel, name: str) -> tuple[Any, str, str]:
    field = cast(Any, row._meta.get_field(name))
    return (
        field.remote_field.through._default_manager,
        f"{field.m2m_field_name()}_id",
        f"{field.m2m_reverse_field_name()}_id",
    )


def _linked(row: TenantModel, name: str) -> list[int]:
    return _all_linked([row], name).get(row.pk, [])


def _all_linked(rows: Sequence[TenantModel], name: str) -> dict[int, list[int]]:
    """What each row is linked to, by its id, in one query."""
    if not rows:
        return {}
    manager, here, there = _through(rows[0], name)
    found: dict[int, list[int]] = {}
    links = manager.filter(**{f"{here}__in": [row.pk for row in rows]}).order_by(there)
    for row_id, target_id in links.values_list(here, there):
        found.setdefault(row_id, []).append(target_id)
    return found


def _link(row: TenantModel, name: str, targets: Iterable[int]) -> None:
    manager, here, there = _through(row, name)
    links = [
        manager.model(tenant_id=row.tenant_id, **{here: row.pk, there: target})
        for target in sorted(targets)
    ]
    manager.bulk_create(links)


def _unlink(row: TenantModel, name: str, targets: Iterable[int]) -> None:
    manager, here, there = _through(row, name)
    if targets:
        manager.filter(**{here: row.pk, f"{there}__in": list(targets)}).delete()


# ---- events -------------------------------------------------------------------------------------


def _record(
    actor: Actor, model: type[TenantModel], entries: Iterable[tuple[TenantModel, str, Any]]
) -> None:
    events = []
    for row, verb, changes in entries:
        _refuse_strangers(actor, [row])
        events.append(
            Event(
                tenant_id=actor.tenant.pk,
                actor=actor.member,
                operator_id=actor.user.pk if actor.is_operator else None,
                on_behalf_of=actor.on_behalf_of,
                via=actor.via,
                request_id=actor.request_id,
                reason=actor.reason,
                verb=verb,
                subject_type=model.__name__.lower(),
                subject_id=row.pk,
                project_id=getattr(row, model.project_field) if model.project_field else None,
                changes={n: c for n, c in changes.items() if n not in model.unrecorded}
                | {n: ["…", "…"] for n in changes if n in model.unrecorded},
            )
        )
    Event.objects.bulk_create(events, batch_size=BATCH)


def _refuse_strangers(actor: Actor, rows: Iterable[TenantModel]) -> None:
    for row in rows:
        if row.tenant_id != actor.tenant.pk:
            raise TenantError(f"{actor.user} in {actor.tenant} reached {row!r} of another tenant")


def _birth(row: TenantModel, sets: dict[str, list[models.Model]]) -> dict[str, Any]:
    born = {n: [None, v] for n, v in _snapshot(row).items()}
    return born | {n: [[], sorted(t.pk for t in ts)] for n, ts in sets.items() if ts}


def _deaths(model: type[M], rows: list[M]) -> list[tuple[M, dict[str, Any]]]:
    held = [{n: [v, None] for n, v in _snapshot(row).items()} for row in rows]
    for field in model._meta.local_many_to_many:
        linked = _all_linked(rows, field.name)
        for row, changes in zip(rows, held, strict=True):
            if ids := linked.get(row.pk):
                changes[field.name] = [ids, []]
    return list(zip(rows, held, strict=True))


def _snapshot(row: TenantModel) -> dict[str, Any]:
    """All that says something, as JSON."""
    names = [
        f.name
        for f in row._meta.concrete_fields
        if f.name not in UNRECORDED | row.unrecorded and not f.generated
    ]
    values = {n: _plain(_value(row, n)) for n in names}
    return {n: v for n, v in values.items() if v not in (None, "", {}, [])}


def _value(row: models.Model, name: str) -> Any:
    return getattr(row, _attname(type(row), name))


def _attname(model: type[models.Model], name: str) -> str:
    return str(cast(Any, model._meta.get_field(name)).attname)


def _plain(value: Any) -> Any:
    if isinstance(value, models.Model):
        return value.pk
    if isinstance(value, datetime | date):
        return value.isoformat()
    return value
