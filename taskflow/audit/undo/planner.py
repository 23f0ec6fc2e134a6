"""
What has to change so that chosen events had not happened, by the log alone.

Field by field, newest first: what only chosen events have touched since goes back to what it was
before them; what others have changed since is an obstacle. Which rows can be taken back, by whom,
and what must hold afterwards, the caller knows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from django.core.exceptions import FieldDoesNotExist

from taskflow.audit.history import who_did
from taskflow.audit.links import linked_ids
from taskflow.audit.models import Event
from taskflow.audit.resource_types import ResourceType, resource_types
from taskflow.audit.undo.plan import Obstacle, Plan, Reversal, target_of
from taskflow.audit.values import as_recorded

WIPED = "…"  # stands in the log, before and after, for what it may not keep
UNKNOWN: Any = object()  # stands for that here
ALIVE = ""  # the key of a row's being there at all
Key = str | tuple[str, int]  # a field, or one link of a many-to-many one
Step = tuple[Event, Any, Any]  # before and after


def plan_undo(chosen: Sequence[Event]) -> Plan:
    """Lock the rows, then read what has happened to them since."""
    plan, types = Plan(), resource_types()
    subjects: dict[str, dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
    for event in chosen:
        if event.subject_type in types:
            subjects[event.subject_type][event.subject_id].add(event.pk)
        else:
            plan.left.append(Obstacle(event, "not_undoable", "This cannot be taken back."))
    for name in (name for name in types if name in subjects):
        resource_type, wanted = types[name], subjects[name]
        is_kept = resource_type.removal is not None  # rows without a trash may have to be deleted
        locked = (
            resource_type.rows(wanted)
            .order_by("pk")
            .select_for_update(of=("self",), no_key=is_kept)
        )
        stored = {row.pk: row for row in locked}
        plan.rows |= {(name, pk): row for pk, row in stored.items()}
        log = _log_of(name, wanted)
        links = _links_of(resource_type.model, list(stored.values()), log)
        for pk, ids in sorted(wanted.items()):
            _Reading(plan, resource_type, stored.get(pk), log[pk], ids, links).reverse()
    _check_targets(plan)
    return plan


def _log_of(name: str, wanted: Mapping[int, set[int]]) -> dict[int, list[Event]]:
    """All that has happened to the rows since, newest first."""
    first = min(min(ids) for ids in wanted.values())
    events = Event.objects.filter(subject_type=name, subject_id__in=sorted(wanted), pk__gte=first)
    log: dict[int, list[Event]] = defaultdict(list)
    for event in events.select_related("actor").order_by("-pk"):
        log[event.subject_id].append(event)
    return log


def _links_of(
    model: Any, rows: Sequence[Any], log: Mapping[int, Sequence[Event]]
) -> dict[str, dict[int, list[int]]]:
    """What the rows are linked to now, by field and id, as far as the log speaks of it."""
    named = {name for events in log.values() for event in events for name in event.changes}
    many = {f.name for f in model._meta.many_to_many}
    return {name: linked_ids(rows, name) for name in sorted(named & many)}


class _Reading:
    """Of the log of one row."""

    def __init__(
        self,
        plan: Plan,
        resource_type: ResourceType,
        row: Any,
        log: Sequence[Event],
        chosen: set[int],
        links: Mapping[str, Mapping[int, list[int]]],
    ) -> None:
        self.plan, self.resource_type, self.row, self.chosen = plan, resource_type, row, chosen
        self.links = {n: set(ids.get(row.pk, ())) if row else set() for n, ids in links.items()}
        self.events = [event for event in log if event.pk in chosen]
        self.steps: dict[Key, list[Step]] = defaultdict(list)
        for event in log:
            for key, before, after in _steps(resource_type.model, event):
                self.steps[key].append((event, before, after))
        for key, steps in self.steps.items():
            self.steps[key] = list(self._that_count(steps))
        self.log = log
        self.others: list[Event] = []  # that hold still
        self.left: dict[int, set[str]] = defaultdict(set)  # fields of events that stay

    def reverse(self) -> None:
        targets = {key: self._target(key) for key in list(self.steps)}
        alive = targets.pop(ALIVE, None)
        reversal = Reversal(self.resource_type, self.row, self.events, self.left)
        if alive is True and self.row is None:
            self._make_again(reversal)
        if alive is False and self.row is not None and not self._is_gone():
            self._withdraw(reversal)
        if not self.resource_type.restores_values:
            self._leave(targets)
        elif alive is not False or (self.row is not None and not self._is_gone()):
            self._set_fields(reversal, targets)
        if not reversal.is_empty:
            self.plan.reversals.append(reversal)

    def _that_count(self, steps: Sequence[Step]) -> Iterator[Step]:
        """Without what one request did to a field and took back by itself."""
        by_request = groupby(
            steps, lambda s: (s[0].request_id or s[0].pk, s[0].actor_id, s[0].pk in self.chosen)
        )
        for _, group in by_request:
            found = list(group)
            if found[-1][1] != found[0][2] or found[0][1] is UNKNOWN:
                yield from found

    def _target(self, key: Key) -> Any:
        """What it was before the chosen events that come after all others; None if there are none.

        As a list of one, but for ALIVE. An event that was taken back is as none.
        """
        found: list[Any] = []
        other: Event | None = None
        blocked: list[Event] = []
        wanted: list[Any] = []
        for event, before in self._standing(key):
            if event.pk in self.chosen:
                wanted = [before]
                if other is None:
                    found = [before]
                else:
                    blocked.append(event)
            elif not event.undoes and not self._is_undone_link(key, before):
                other = other or event
        if other is not None:
            self.others.append(other)
        if key == ALIVE:
            return found[0] if found else None
        if blocked and other is not None and wanted != [self._now(key)]:
            self._block(blocked, _field_of(key), other)
        return found

    def _is_undone_link(self, key: Key, before: Any) -> bool:
        """Links also go with what they lead to, which is no event of this row."""
        return isinstance(key, tuple) and before == self._now(key)

    def _standing(self, key: Key) -> Iterator[tuple[Event, Any]]:
        """The steps that no undo after them has taken back, newest first."""
        neutral: set[int] = set()
        own = {event.pk: before for event, before, _ in self.steps[key]}
        for event in self.log:
            if event.pk in neutral:
                continue
            if event.undoes and event.pk not in self.chosen:
                kept = _field_of(key)
                neutral |= {int(pk) for pk, left in event.undoes.items() if kept not in left}
            if event.pk in own:
                yield event, own[event.pk]

    def _now(self, key: Key) -> Any:
        if self.row is None:
            return None
        if isinstance(key, tuple):
            return key[1] in self.links[key[0]]
        return as_recorded(getattr(self.row, self.row._meta.get_field(key).attname))

    def _block(self, events: Sequence[Event], name: str, other: Event) -> None:
        for event in events:
            self.left[event.pk].add(name)
        self.plan.obstacles.append(
            Obstacle(
                events[0],
                "changed_since",
                f"{who_did(other)} has changed {name.replace('_', ' ')} since.",
                name,
            )
        )

    def _make_again(self, reversal: Reversal) -> None:
        """With what it held when it was deleted."""
        death = next(e for e in self.events if _is_death(self.resource_type.model, e))
        if hasattr(self.resource_type.model, "deleted_at"):
            self._refuse(death, "purged", "It was deleted for good.")
            return
        held = {n: before for n, (before, after) in death.changes.items() if before != after}
        names = {f.name for f in self.resource_type.model._meta.concrete_fields}
        reversal.row = self.resource_type.model(pk=death.subject_id)
        reversal.is_made_again = True
        self.plan.coming.add((self.resource_type.model, death.subject_id))
        reversal.values = {n: v for n, v in held.items() if n in names}
        reversal.links = {n: dict.fromkeys(v, True) for n, v in held.items() if n not in names}

    def _withdraw(self, reversal: Reversal) -> None:
        """What others have changed since is theirs too."""
        if self.others:
            who = who_did(self.others[0])
            self._refuse(self.events[-1], "changed_since", f"{who} has changed it since.")
        else:
            reversal.is_withdrawn = True

    def _is_gone(self) -> bool:
        if self.resource_type.removal is None:
            return False
        value = getattr(self.row, self.resource_type.removal[1])
        return value is False or (value is not None and value is not True)

    def _leave(self, targets: Mapping[Key, Any]) -> None:
        if any(targets.values()):
            self.plan.left.append(
                Obstacle(self.events[0], "not_undoable", "Credentials do not come back.")
            )

    def _set_fields(self, reversal: Reversal, targets: Mapping[Key, Any]) -> None:
        wanted = {key: found[0] for key, found in targets.items() if found}
        if wanted and self.row is None and not reversal.is_made_again:
            if not any(_is_death(self.resource_type.model, e) for e in self.events):
                self._refuse(self.events[0], "gone", "It was deleted for good.")
            return
        for key, value in wanted.items():
            if isinstance(key, tuple):
                # What is made again comes with the links it had, this one maybe among them.
                target = (target_of(self.resource_type.model, key[0]), key[1])
                if value != self._now(key) or target in self.plan.coming:
                    reversal.links.setdefault(key[0], {})[key[1]] = value
            elif value is UNKNOWN:
                self.plan.left.append(
                    Obstacle(self.events[0], "not_recorded", "The log does not keep it.", key)
                )
            elif reversal.is_made_again or value != self._now(key):
                reversal.values[key] = value

    def _refuse(self, event: Event, code: str, detail: str) -> None:
        self.plan.obstacles.append(Obstacle(event, code, detail))


def _steps(model: Any, event: Event) -> Iterator[tuple[Key, Any, Any]]:
    if _is_birth(model, event):
        yield ALIVE, False, True
    elif _is_death(model, event):
        yield ALIVE, True, False
    else:
        for name, (before, after) in event.changes.items():
            if before == after == WIPED:
                yield name, UNKNOWN, UNKNOWN
            elif isinstance(before, list) and _is_link(model, name):
                for pk in sorted(set(before) ^ set(after)):
                    yield (name, pk), pk in before, pk in after
            else:
                yield name, before, after


def _field_of(key: Key) -> str:
    return key if isinstance(key, str) else key[0]


def _is_link(model: Any, name: str) -> bool:
    return bool(model._meta.get_field(name).many_to_many)


def _is_birth(model: Any, event: Event) -> bool:
    return _has_required(model, event, 0)


def _is_death(model: Any, event: Event) -> bool:
    return _has_required(model, event, 1)


def _has_required(model: Any, event: Event, side: int) -> bool:
    """Whether a column that is never null was null, which is when the row is not there."""
    for name, pair in event.changes.items():
        try:
            column = model._meta.get_field(name)
        except FieldDoesNotExist:  # links of others, at its end
            continue
        if pair[side] is None and column.concrete and not column.null:
            return True
    return False


def _check_targets(plan: Plan) -> None:
    """What a row shall point at again must be there."""
    asked: dict[Any, set[int]] = defaultdict(set)
    pointing: list[tuple[Reversal, str, Any, int]] = []
    for reversal in plan.reversals:
        for name, value in [*reversal.values.items(), *reversal.links.items()]:
            target = target_of(reversal.resource_type.model, name)
            named = [k for k, v in value.items() if v] if name in reversal.links else [value]
            for pk in named:
                if target is not None and pk is not None:
                    asked[target].add(pk)
                    pointing.append((reversal, name, target, pk))
    there = {
        (target, pk)
        for target, ids in asked.items()
        for pk in target._base_manager.filter(pk__in=sorted(ids)).values_list("pk", flat=True)
    }
    missing: list[Obstacle] = []
    for reversal, name, target, pk in pointing:
        if (target, pk) in there | plan.coming:
            continue
        what = Obstacle(reversal.events[0], "target_gone", f"{name} {pk} is gone for good.", name)
        if name in reversal.links:
            del reversal.links[name][pk]
            plan.left.append(what)
        else:
            missing.append(what)
    plan.leave_out(missing)
