"""From a plan to the database: what is taken back is a change like any other, and on record."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from django.db import models
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from taskflow.audit.actor import Actor
from taskflow.audit.links import linked_ids
from taskflow.audit.recorder import change_all, change_each, create_all, remove_all
from taskflow.audit.undo.plan import Noun, Plan, Reversal, target_of
from taskflow.audit.verbs import inverse_of

# What takes a verb back, where another change of the same fields has a name.
INVERSE = {
    "published": "unpublished",
    "unpublished": "published",
}


def make_room(actor: Actor, plan: Plan, nouns: Mapping[str, Noun]) -> None:
    """Delete what was made and has no trash, before others take its name again."""
    going = [noun for noun in nouns.values() if noun.withdrawn is None]
    _withdraw(actor, plan, going)
    gone = {(noun.model, pk) for noun in going for pk in plan.withdrawn(noun.model)}
    for reversal in plan.reversals:
        for name, links in reversal.links.items():
            target = target_of(reversal.noun.model, name)
            reversal.links[name] = {k: v for k, v in links.items() if (target, k) not in gone}


def put_back(actor: Actor, plan: Plan, nouns: Mapping[str, Noun]) -> None:
    """Values, links and rows. What a row belongs to comes back before it."""
    actor = _undoing(actor, plan)
    for noun in nouns.values():
        reversals = [r for r in plan.of(noun.model) if not r.is_withdrawn]
        changed = [r for r in reversals if not r.is_made_again]
        _restore(actor, noun, changed)
        for level in _in_turn(changed, noun.unique):
            links = {n: linked_ids([r.row for r in level], n) for n in _linked_names(level)}
            change_each(actor, [edit for r in level if (edit := _edit(r, links))])
        again = [r for r in reversals if r.is_made_again]
        for reversal in again:
            _put(reversal.row, reversal.values)
        create_all(actor, [r.row for r in again], noun.born, sets=_sets(noun.model, again))
        _delete_again(actor, noun, changed)


def withdraw(actor: Actor, plan: Plan, nouns: Mapping[str, Noun]) -> None:
    """What was made goes to the trash, last what the rest belongs to."""
    trashed = [noun for noun in nouns.values() if noun.withdrawn is not None]
    _withdraw(actor, plan, trashed[::-1])


def _withdraw(actor: Actor, plan: Plan, nouns: Iterable[Noun]) -> None:
    actor, moment = _undoing(actor, plan), timezone.now()
    going = {(r.noun.model, r.row.pk) for r in plan.reversals if r.is_withdrawn}
    for noun in nouns:
        withdrawn = [r for r in plan.of(noun.model) if r.is_withdrawn]
        ids = [r.row.pk for r in withdrawn if not _goes_along(r, going)]
        if ids and noun.withdrawn is None:
            remove_all(actor, noun.rows(ids), noun.gone)
        elif ids and noun.withdrawn is not None:
            verb, name = noun.withdrawn
            is_switch = isinstance(noun.model._meta.get_field(name), models.BooleanField)
            change_all(actor, noun.rows(ids), verb, **{name: False if is_switch else moment})


def _in_turn(reversals: Sequence[Reversal], unique: Sequence[str]) -> Iterator[list[Reversal]]:
    """Those first whose unique values others of them get back. A swap of two is left to fail."""
    left = list(reversals)
    while left:
        held = {(n, _folded(getattr(r.row, n))): r for r in left for n in unique if n in r.values}
        waiting = [
            r
            for r in left
            if any(held.get((n, _folded(r.values[n])), r) is not r for n in unique if n in r.values)
        ]
        free = [r for r in left if r not in waiting] or left
        yield free
        left = [r for r in left if r not in free]


def _folded(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _sets(model: Any, reversals: Sequence[Reversal]) -> dict[str, list[list[Any]]]:
    return {
        name: [
            [model._meta.get_field(name).related_model(pk=pk) for pk in r.links.get(name, ())]
            for r in reversals
        ]
        for name in _linked_names(reversals)
    }


def _goes_along(reversal: Reversal, going: set[tuple[Any, int]]) -> bool:
    """What belongs to a row that is withdrawn disappears with it, and would return with it."""
    model = reversal.noun.model
    return any(
        (f.related_model, getattr(reversal.row, f.attname)) in going
        for f in model._meta.concrete_fields
        if f.related_model not in (None, model) and f.remote_field.on_delete is models.CASCADE
    )


def _undoing(actor: Actor, plan: Plan) -> Actor:
    undone = {
        r.subject: {str(e.pk): sorted(r.left.get(e.pk, ())) for e in r.events}
        for r in plan.reversals
    }
    return replace(actor, undoing=undone)


def _put(row: Any, values: Mapping[str, Any]) -> None:
    for name, value in _read(row, values).items():
        setattr(row, row._meta.get_field(name).attname, value)


def _read(row: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """From JSON to what the columns take; rows stay ids."""
    fields = {name: row._meta.get_field(name) for name in values}
    return {
        n: v if v is None or fields[n].is_relation else fields[n].to_python(v)
        for n, v in values.items()
    }


def _linked_names(reversals: Iterable[Reversal]) -> list[str]:
    return sorted({name for r in reversals for name in r.links})


def _edit(
    reversal: Reversal, links: Mapping[str, Mapping[int, list[int]]]
) -> tuple[Any, str, dict[str, Any]] | None:
    values = {n: v for n, v in reversal.values.items() if n != "deleted_at"}
    edit: dict[str, Any] = _read(reversal.row, values)
    for name, wanted in reversal.links.items():
        target = reversal.row._meta.get_field(name).related_model
        now = dict.fromkeys(links[name].get(reversal.row.pk, ()), True)
        edit[name] = [target(pk=pk) for pk, is_linked in (now | wanted).items() if is_linked]
    verbs = {event.verb for event in reversal.events if not event.undoes}
    verb = _inverse_of(reversal, verbs.pop()) if len(verbs) == 1 else "changed"
    return (reversal.row, verb, edit) if edit else None


def _inverse_of(reversal: Reversal, verb: str) -> str:
    subject_type, _ = reversal.subject
    return inverse_of(subject_type, verb) or INVERSE.get(verb, "changed")


def _restore(actor: Actor, noun: Noun, reversals: Iterable[Reversal]) -> None:
    found = [r for r in reversals if "deleted_at" in r.values and r.values["deleted_at"] is None]
    if found:
        change_all(actor, noun.rows(r.row.pk for r in found), "restored", deleted_at=None)
    for reversal in found:
        reversal.row.deleted_at = None


def _delete_again(actor: Actor, noun: Noun, reversals: Iterable[Reversal]) -> None:
    """With the instant of then, by which what went together returns together."""
    by_moment: dict[str, list[int]] = defaultdict(list)
    for reversal in reversals:
        if reversal.values.get("deleted_at"):
            by_moment[reversal.values["deleted_at"]].append(reversal.row.pk)
    for moment, ids in by_moment.items():
        change_all(actor, noun.rows(ids), "deleted", deleted_at=parse_datetime(moment))
