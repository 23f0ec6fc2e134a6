"""Carries out an undo plan. An undo consists of ordinary changes, which are recorded as usual."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from django.db import models
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from taskflow.audit.actor import Actor
from taskflow.audit.links import read_linked_ids
from taskflow.audit.recorder import (
    change_all,
    change_each,
    create_all,
    exchange_values,
    remove_all,
)
from taskflow.audit.resource_types import ResourceType, resource_types
from taskflow.audit.undo.plan import Plan, Reversal, referenced_model_of
from taskflow.audit.values import FieldValues
from taskflow.audit.verbs import inverse_verb_of
from taskflow.db.columns import columns_of
from taskflow.db.text import fold_key
from taskflow.http.errors import Conflict
from taskflow.tenancy import TenantModel

MAX_STEPS = 20  # of rows that have passed a unique value on to each other; each is an UPDATE


def remove_created(actor: Actor, plan: Plan) -> None:
    """Delete the created rows of types without a trash.

    Call it first: other rows may get back the unique values of these rows.
    """
    types = [t for t in resource_types().values() if t.removal is None]
    _remove(actor, plan, types)
    removed = {(t.model, pk) for t in types for pk in plan.removed_ids(t.model)}
    for reversal in plan.reversals:
        for name, links in reversal.links.items():
            target = referenced_model_of(reversal.resource_type.model, name)
            reversal.links[name] = {k: v for k, v in links.items() if (target, k) not in removed}


def free_unique_values(actor: Actor, plan: Plan) -> None:
    """Empty the unique values of created rows that go to the trash, where they can be empty.

    Call it before restore_values(): other rows may get these values back, now or by a later undo.
    """
    actor = _with_undone_events(actor, plan)
    for resource_type in resource_types().values():
        for name in resource_type.unique if resource_type.is_trashable else ():
            if not resource_type.model._meta.get_field(name).null:
                continue
            rows = resource_type.rows(plan.removed_ids(resource_type.model))
            change_all(actor, rows, "changed", **{name: None})


def restore_values(actor: Actor, plan: Plan) -> None:
    """Restore values, links and deleted rows, type by type.

    A row is restored before the rows that belong to it.
    """
    actor = _with_undone_events(actor, plan)
    for resource_type in resource_types().values():
        reversals = [r for r in plan.reversals_of(resource_type.model) if not r.is_removed]
        changed = [r for r in reversals if not r.is_recreated]
        _restore_from_trash(actor, resource_type, changed)
        for step, unique in _order_by_unique_values(changed, resource_type.unique):
            links = {n: read_linked_ids([r.row for r in step], n) for n in _link_names(step)}
            edits = [edit for r in step if (edit := _edit_of(r, links))]
            if unique:
                exchange_values(actor, edits, unique)
            else:
                change_each(actor, edits)
        _recreate(actor, resource_type, [r for r in reversals if r.is_recreated])
        _return_to_trash(actor, changed)


def trash_created(actor: Actor, plan: Plan) -> None:
    """Move created rows to the trash, or deactivate them. Rows that belong to others come first."""
    types = [t for t in resource_types().values() if t.removal is not None]
    _remove(actor, plan, types[::-1])


def _remove(actor: Actor, plan: Plan, types: Iterable[ResourceType]) -> None:
    actor, now = _with_undone_events(actor, plan), timezone.now()
    removed = {(r.resource_type.model, r.row.pk) for r in plan.reversals if r.is_removed}
    for resource_type in types:
        reversals = [r for r in plan.reversals_of(resource_type.model) if r.is_removed]
        ids = [r.row.pk for r in reversals if not _disappears_with_owner(r, removed)]
        if ids and resource_type.removal is None:
            remove_all(actor, resource_type.rows(ids), resource_type.removed_verb)
        elif ids and resource_type.removal is not None:
            verb, name = resource_type.removal
            is_boolean = isinstance(resource_type.model._meta.get_field(name), models.BooleanField)
            value = False if is_boolean else now
            change_all(actor, resource_type.rows(ids), verb, **{name: value})


def _recreate(actor: Actor, resource_type: ResourceType, reversals: Sequence[Reversal]) -> None:
    for reversal in reversals:
        _set_values(reversal.row, reversal.values)
    links = _links_by_row(resource_type.model, reversals)
    create_all(actor, [r.row for r in reversals], resource_type.created_verb, link_fields=links)


def _order_by_unique_values(
    reversals: Sequence[Reversal], unique: Sequence[str]
) -> Iterator[tuple[list[Reversal], list[str]]]:
    """Yield the reversals in steps: first the rows whose present unique values other rows need.

    Rows that take values from each other in a circle cannot be ordered. They are one step, which is
    yielded with the names of the fields that they change.
    """
    waiting = list(reversals)
    for _step in range(MAX_STEPS):
        holders = {
            (n, _folded(getattr(r.row, n))): r for r in waiting for n in unique if n in r.values
        }
        blocked = [
            r
            for r in waiting
            if any(
                holders.get((n, _folded(r.values[n])), r) is not r for n in unique if n in r.values
            )
        ]
        if waiting and len(blocked) == len(waiting):
            yield waiting, [n for n in unique if any(n in r.values for r in waiting)]
            return
        ids = {r.row.pk for r in blocked}
        yield [r for r in waiting if r.row.pk not in ids], []
        if not blocked:
            return
        waiting = blocked
    raise Conflict(
        f"More than {MAX_STEPS} rows have passed a unique value on to each other. Undo fewer"
        " changes at once, the newest first.",
        code="cannot_undo",
    )


def _folded(value: object) -> object:
    return fold_key(value) if isinstance(value, str) else value


def _links_by_row(model: Any, reversals: Sequence[Reversal]) -> dict[str, list[list[models.Model]]]:
    return {
        name: [
            [model._meta.get_field(name).related_model(pk=pk) for pk in r.links.get(name, ())]
            for r in reversals
        ]
        for name in _link_names(reversals)
    }


def _disappears_with_owner(
    reversal: Reversal, removed: set[tuple[type[models.Model], int]]
) -> bool:
    """Return whether the row is removed together with a row that it belongs to."""
    model = reversal.resource_type.model
    return any(
        (f.related_model, getattr(reversal.row, f.attname)) in removed
        for f in columns_of(model)
        if f.related_model not in (None, model) and f.remote_field.on_delete is models.CASCADE
    )


def _with_undone_events(actor: Actor, plan: Plan) -> Actor:
    """Return an actor whose events will contain the ids of the events that they undo."""
    undone = {
        r.subject: {str(e.pk): sorted(r.skipped_fields.get(e.pk, ())) for e in r.events}
        for r in plan.reversals
    }
    return replace(actor, undoing=undone)


def _set_values(row: Any, values: FieldValues) -> None:
    for name, value in _column_values(row, values).items():
        setattr(row, row._meta.get_field(name).attname, value)


def _column_values(row: Any, values: FieldValues) -> dict[str, object]:
    """Convert recorded JSON values to values of the columns. References to rows stay ids."""
    fields = {name: row._meta.get_field(name) for name in values}
    return {
        n: v if v is None or fields[n].is_relation else fields[n].to_python(v)
        for n, v in values.items()
    }


def _link_names(reversals: Iterable[Reversal]) -> list[str]:
    return sorted({name for r in reversals for name in r.links})


def _edit_of(
    reversal: Reversal, links: Mapping[str, Mapping[int, list[int]]]
) -> tuple[TenantModel, str, FieldValues] | None:
    values = {n: v for n, v in reversal.values.items() if n != "deleted_at"}
    edit: dict[str, object] = _column_values(reversal.row, values)
    for name, planned_links in reversal.links.items():
        target = reversal.row._meta.get_field(name).related_model
        present_links = dict.fromkeys(links[name].get(reversal.row.pk, ()), True)
        edit[name] = [
            target(pk=pk) for pk, is_linked in (present_links | planned_links).items() if is_linked
        ]
    return (reversal.row, _verb_of(reversal, edit), edit) if edit else None


def _verb_of(reversal: Reversal, edit: FieldValues) -> str:
    """Return the verb with which the edit is recorded.

    The event of a move contains the fields of a move only: it is shown to users who cannot see the
    former project.
    """
    events = [event for event in reversal.events if not event.undoes]
    verbs = {event.verb for event in events}
    if len(verbs) != 1:
        return "changed"
    if "project" in edit and not edit.keys() <= {name for e in events for name in e.changes}:
        return "changed"
    return inverse_verb_of(reversal.resource_type.name, verbs.pop(), edit) or "changed"


def _restore_from_trash(
    actor: Actor, resource_type: ResourceType, reversals: Iterable[Reversal]
) -> None:
    in_trash = [r for r in reversals if "deleted_at" in r.values and r.values["deleted_at"] is None]
    if in_trash:
        change_all(
            actor, resource_type.rows(r.row.pk for r in in_trash), "restored", deleted_at=None
        )
    for reversal in in_trash:
        reversal.row.deleted_at = None


def _return_to_trash(actor: Actor, reversals: Iterable[Reversal]) -> None:
    """Move rows to the trash again, with their former time of deletion.

    Rows with the same time can be restored together.
    """
    edits = [
        (r.row, "deleted", {"deleted_at": parse_datetime(r.values["deleted_at"])})
        for r in reversals
        if r.values.get("deleted_at")
    ]
    change_each(actor, edits)
