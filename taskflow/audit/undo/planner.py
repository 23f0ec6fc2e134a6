"""
Plans an undo from the event log.

The events of each field of each row are read from the newest to the oldest. A field that only the
selected events have changed gets back its value from before them. A field that other events have
changed since is an obstacle. The caller checks permissions, and the rules for the rows after the
undo.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from django.db import models

from taskflow.audit.history import name_actor
from taskflow.audit.links import read_linked_ids
from taskflow.audit.models import Event
from taskflow.audit.resource_types import ResourceType, resource_types
from taskflow.audit.undo.plan import Obstacle, Plan, Reversal, referenced_model_of
from taskflow.audit.values import REDACTED, as_recorded, is_creation, is_deletion
from taskflow.audit.visibility import find_hidden_then, select_referable_rows
from taskflow.db.columns import columns_of
from taskflow.db.viewer import Viewer
from taskflow.tenancy import TenantModel

UNKNOWN: Any = object()  # stands for a value that is REDACTED
EXISTS = ""  # the key of the steps that create or delete the row
StepKey = str | tuple[str, int]  # a field, or (many-to-many field, id of the linked row)
Step = tuple[Event, Any, Any]  # event, value before, value after


def plan_undo(selected: Sequence[Event], viewer: Viewer) -> Plan:
    """Lock the rows of the events, read what has happened to them since, and plan each row.

    What the viewer cannot see is not named in obstacles, and no row gets a reference to it. A
    constant number of statements per resource type.
    """
    plan, types = Plan(), resource_types()
    subjects: dict[str, dict[int, set[int]]] = defaultdict(lambda: defaultdict(set))
    for event in selected:
        if event.subject_type in types:
            subjects[event.subject_type][event.subject_id].add(event.pk)
        else:
            plan.skipped.append(Obstacle(event, "not_undoable", "This cannot be undone."))
    for name in (name for name in types if name in subjects):
        resource_type, selected_ids = types[name], subjects[name]
        rows = resource_type.rows(selected_ids).order_by("pk")
        # Rows without a trash may have to be deleted, which needs FOR UPDATE.
        is_kept = resource_type.removal is not None
        locked = rows.select_for_update(of=("self",), no_key=is_kept)
        stored = {row.pk: row for row in locked}
        plan.rows |= {(name, pk): row for pk, row in stored.items()}
        log = _events_since_first(name, selected_ids)
        links = _present_links(resource_type.model, list(stored.values()), log)
        for pk, ids in sorted(selected_ids.items()):
            _RowPlanner(plan, resource_type, stored.get(pk), log[pk], ids, links).add_to_plan()
    _check_targets(plan, viewer)
    _name_later_authors(plan, viewer)
    return plan


def _events_since_first(name: str, selected_ids: Mapping[int, set[int]]) -> dict[int, list[Event]]:
    """Return all events of each row since the first selected one, newest first."""
    first = min(min(ids) for ids in selected_ids.values())
    events = Event.objects.filter(
        subject_type=name, subject_id__in=sorted(selected_ids), pk__gte=first
    )
    log: dict[int, list[Event]] = defaultdict(list)
    for event in events.select_related("actor").order_by("-pk"):
        log[event.subject_id].append(event)
    return log


def _present_links(
    model: type[models.Model], rows: Sequence[TenantModel], log: Mapping[int, Sequence[Event]]
) -> dict[str, dict[int, list[int]]]:
    """Return the present links of the rows by field and id, of the fields that the log names."""
    named = {name for events in log.values() for event in events for name in event.changes}
    many = {f.name for f in model._meta.many_to_many}
    return {name: read_linked_ids(rows, name) for name in sorted(named & many)}


class _RowPlanner:
    """Plans the undo of one row from its events."""

    def __init__(
        self,
        plan: Plan,
        resource_type: ResourceType,
        row: Any,  # None if it was deleted permanently
        log: Sequence[Event],
        selected: set[int],
        links: Mapping[str, Mapping[int, list[int]]],
    ) -> None:
        self.plan, self.resource_type, self.row, self.selected = plan, resource_type, row, selected
        self.links = {n: set(ids.get(row.pk, ())) if row else set() for n, ids in links.items()}
        self.events = [event for event in log if event.pk in selected]
        self.steps: dict[StepKey, list[Step]] = defaultdict(list)
        for event in log:
            for key, before, after in _steps(resource_type.model, event):
                self.steps[key].append((event, before, after))
        for key, steps in self.steps.items():
            self.steps[key] = list(self._without_self_undone(steps))
        self.log = log
        self.later_events: list[Event] = []  # newer events that are neither selected nor undone
        # The fields that are not undone, by the id of the event.
        self.skipped_fields: dict[int, set[str]] = defaultdict(set)

    def add_to_plan(self) -> None:
        targets = {key: self._former_value(key) for key in list(self.steps)}
        existed = targets.pop(EXISTS, None)
        reversal = Reversal(self.resource_type, self.row, self.events, self.skipped_fields)
        if existed is True and self.row is None and self.resource_type.restores_values:
            self._recreate(reversal)
        if existed is False and self.row is not None and not self._is_removed_now():
            self._remove(reversal)
        if not self.resource_type.restores_values:
            self._skip_credentials(targets, is_deleted=existed is True)
        elif existed is not False or (self.row is not None and not self._is_removed_now()):
            self._set_fields(reversal, targets)
        if not reversal.is_empty:
            self.plan.reversals.append(reversal)

    def _without_self_undone(self, steps: Sequence[Step]) -> Iterator[Step]:
        """Yield the steps without those of a request that has itself restored the old value."""
        by_request = groupby(
            steps, lambda s: (s[0].request_id or s[0].pk, s[0].actor_id, s[0].pk in self.selected)
        )
        for _, group in by_request:
            steps_of_request = list(group)
            if (
                steps_of_request[-1][1] != steps_of_request[0][2]
                or steps_of_request[0][1] is UNKNOWN
            ):
                yield from steps_of_request

    def _former_value(self, key: StepKey) -> Any:
        """Return the value to restore: the one before the newest selected events.

        It is returned in a list, which is empty if nothing can be restored. For EXISTS, return the
        value itself, or None. Events that were undone are ignored.
        """
        values: list[object] = []
        later_event: Event | None = None
        blocked: list[Event] = []
        value_before_all: list[object] = []
        for event, before in self._steps_not_undone(key):
            if event.pk in self.selected:
                value_before_all = [before]
                if later_event is None:
                    values = [before]
                else:
                    blocked.append(event)
            elif not event.undoes and not self._is_undone_link(key, before):
                later_event = later_event or event
        if later_event is not None:
            self.later_events.append(later_event)
        if key == EXISTS:
            return values[0] if values else None
        if blocked and later_event is not None and value_before_all != [self._present_value(key)]:
            self._add_changed_since(blocked, _field_of_key(key), later_event)
        return values

    def _is_undone_link(self, key: StepKey, before: object) -> bool:
        """Whether the link is already as it was before.

        It is also removed together with its target, without an event of this row.
        """
        return isinstance(key, tuple) and before == self._present_value(key)

    def _steps_not_undone(self, key: StepKey) -> Iterator[tuple[Event, Any]]:
        """Yield (event, value before it) of the steps that no later undo has reverted, newest
        first.
        """
        undone: set[int] = set()
        value_before = {event.pk: before for event, before, _ in self.steps[key]}
        for event in self.log:
            if event.pk in undone:
                continue
            if event.undoes and event.pk not in self.selected:
                field_name = _field_of_key(key)
                undone |= {int(pk) for pk, left in event.undoes.items() if field_name not in left}
            if event.pk in value_before:
                yield event, value_before[event.pk]

    def _present_value(self, key: StepKey) -> object:
        if self.row is None:
            return None
        if isinstance(key, tuple):
            return key[1] in self.links[key[0]]
        return as_recorded(getattr(self.row, self.row._meta.get_field(key).attname))

    def _add_changed_since(self, events: Sequence[Event], name: str, later_event: Event) -> None:
        for event in events:
            self.skipped_fields[event.pk].add(name)
        self.plan.obstacles.append(
            Obstacle(
                events[0],
                "changed_since",
                f"{{author}} has changed {name.replace('_', ' ')} since.",
                name,
                later_event,
            )
        )

    def _recreate(self, reversal: Reversal) -> None:
        """Plan a new row with the values that the old one had when it was deleted.

        Its versions go on from the last one. If they began again at 1, an ETag from before the
        deletion would be valid for other values.
        """
        deletion = next(e for e in self.events if is_deletion(self.resource_type.model, e.changes))
        if hasattr(self.resource_type.model, "deleted_at"):
            self._refuse(deletion, "purged", "It was deleted permanently.")
            return
        values_before = {
            n: before for n, (before, after) in deletion.changes.items() if before != after
        }
        names = {f.name for f in columns_of(self.resource_type.model)}
        version = self.log[0].version + 1
        reversal.row = self.resource_type.model(pk=deletion.subject_id, version=version)
        reversal.is_recreated = True
        self.plan.recreated.add((self.resource_type.model, deletion.subject_id))
        reversal.values = {n: v for n, v in values_before.items() if n in names}
        reversal.links = {
            n: dict.fromkeys(v, True) for n, v in values_before.items() if n not in names
        }

    def _remove(self, reversal: Reversal) -> None:
        """Plan to remove the row, unless other events have changed it since."""
        if self.later_events:
            detail, later_event = "{author} has changed it since.", self.later_events[0]
            self.plan.obstacles.append(
                Obstacle(self.events[-1], "changed_since", detail, later_event=later_event)
            )
        else:
            reversal.is_removed = True

    def _is_removed_now(self) -> bool:
        if self.resource_type.removal is None:
            return False
        value = getattr(self.row, self.resource_type.removal[1])
        return value is False or (value is not None and value is not True)

    def _skip_credentials(self, targets: Mapping[StepKey, Any], *, is_deleted: bool) -> None:
        """Add an obstacle to the skipped ones if a password or token would have to be restored."""
        if is_deleted or any(targets.values()):
            self.plan.skipped.append(
                Obstacle(self.events[0], "not_undoable", "Credentials cannot be restored.")
            )

    def _set_fields(self, reversal: Reversal, targets: Mapping[StepKey, Any]) -> None:
        former = {key: values[0] for key, values in targets.items() if values}
        if former and self.row is None and not reversal.is_recreated:
            if not any(is_deletion(self.resource_type.model, e.changes) for e in self.events):
                self._refuse(self.events[0], "gone", "It was deleted permanently.")
            return
        for key, value in former.items():
            if isinstance(key, tuple):
                # A row that is created again gets the links it had, maybe this one among them.
                target = (referenced_model_of(self.resource_type.model, key[0]), key[1])
                if value != self._present_value(key) or target in self.plan.recreated:
                    reversal.links.setdefault(key[0], {})[key[1]] = value
            elif value is UNKNOWN:
                self.plan.skipped.append(
                    Obstacle(self.events[0], "not_recorded", "The log does not store it.", key)
                )
            elif reversal.is_recreated or value != self._present_value(key):
                reversal.values[key] = value

    def _refuse(self, event: Event, code: str, detail: str) -> None:
        self.plan.obstacles.append(Obstacle(event, code, detail))


def _steps(model: type[models.Model], event: Event) -> Iterator[tuple[StepKey, Any, Any]]:
    if is_creation(model, event.changes):
        yield EXISTS, False, True
    elif is_deletion(model, event.changes):
        yield EXISTS, True, False
    else:
        for name, (before, after) in event.changes.items():
            if before == after == REDACTED:
                yield name, UNKNOWN, UNKNOWN
            elif isinstance(before, list) and _is_link(model, name):
                for pk in sorted(set(before) ^ set(after)):
                    yield (name, pk), pk in before, pk in after
            else:
                yield name, before, after


def _field_of_key(key: StepKey) -> str:
    return key if isinstance(key, str) else key[0]


def _is_link(model: type[models.Model], name: str) -> bool:
    return bool(model._meta.get_field(name).many_to_many)


def _name_later_authors(plan: Plan, viewer: Viewer) -> None:
    """Fill in who has made the changes since, except in events that the viewer cannot see.

    At most one query.
    """
    later_events = [o.later_event for o in plan.obstacles if o.later_event is not None]
    hidden = find_hidden_then(viewer, later_events)
    for obstacle in plan.obstacles:
        if (event := obstacle.later_event) is not None:
            author = "Another user" if event.pk in hidden else name_actor(event)
            obstacle.detail = obstacle.detail.replace("{author}", author)


def _check_targets(plan: Plan, viewer: Viewer) -> None:
    """Add an obstacle for each reference to a row that does not exist, or that is not visible.

    The row is not named, and both cases get the same obstacle.
    """
    ids_by_target: dict[type[models.Model], set[int]] = defaultdict(set)
    references: list[tuple[Reversal, str, type[models.Model], int]] = []
    for reversal in plan.reversals:
        for name, value in [*reversal.values.items(), *reversal.links.items()]:
            target = referenced_model_of(reversal.resource_type.model, name)
            ids = [k for k, v in value.items() if v] if name in reversal.links else [value]
            for pk in ids:
                if target is not None and pk is not None:
                    ids_by_target[target].add(pk)
                    references.append((reversal, name, target, pk))
    existing = {
        (target, pk)
        for target, ids in ids_by_target.items()
        for pk in select_referable_rows(viewer, target)
        .filter(pk__in=sorted(ids))
        .values_list("pk", flat=True)
    } | plan.recreated
    missing: list[Obstacle] = []
    for reversal, name, target, pk in references:
        if (target, pk) in existing:
            continue
        obstacle = Obstacle(
            reversal.events[0],
            "target_gone",
            f"A row that {name.replace('_', ' ')} referred to no longer exists.",
            name,
        )
        if name in reversal.links:
            del reversal.links[name][pk]
            plan.skipped.append(obstacle)
        else:
            missing.append(obstacle)
    plan.exclude_rows(missing)
