"""The plan of an undo: what will be done to each row, and what cannot be undone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import models

from taskflow.audit.models import Event
from taskflow.audit.resource_types import ResourceType


@dataclass
class Obstacle:
    """The reason why an event, or one field of it, is not undone."""

    event: Event
    code: str
    detail: str
    field: str | None = None
    # Of `changed_since`: the event that has changed it. Its author is not named if it is hidden.
    later_event: Event | None = None

    def as_error(self) -> dict[str, object]:
        return {
            "code": self.code,
            "detail": self.detail,
            "event_id": self.event.pk,
            "subject": {"type": self.event.subject_type, "id": self.event.subject_id},
            "field": self.field,
        }


@dataclass(eq=False)
class Reversal:
    """What will be done to one row.

    If the row is to be removed, its values are used only if it cannot be removed.
    """

    resource_type: ResourceType
    row: Any  # the stored row, or a new one that will be created
    events: list[Event]  # the events to undo, newest first
    skipped_fields: Mapping[int, set[str]]  # fields that are not undone, by the event's id
    values: dict[str, Any] = field(default_factory=dict)  # recorded values to set, by field
    # By field and id of the target: whether the row will be linked to it.
    links: dict[str, dict[int, bool]] = field(default_factory=dict)
    is_recreated: bool = False
    is_removed: bool = False

    @property
    def is_empty(self) -> bool:
        return not (self.values or self.links or self.is_recreated or self.is_removed)

    @property
    def subject(self) -> tuple[str, int]:
        return self.events[0].subject_type, self.events[0].subject_id

    def obstacle(self, code: str, detail: str) -> Obstacle:
        return Obstacle(self.events[0], code, detail)


@dataclass
class Plan:
    """What will be done to all rows, and what cannot be undone."""

    reversals: list[Reversal] = field(default_factory=list)
    obstacles: list[Obstacle] = field(default_factory=list)
    skipped: list[Obstacle] = field(default_factory=list)  # what can never be undone
    recreated: set[tuple[type[models.Model], int]] = field(
        default_factory=set
    )  # rows: model and id
    # The locked rows that the events are about, by subject type and id.
    rows: dict[tuple[str, int], Any] = field(default_factory=dict)

    def reversals_of(self, model: type[models.Model] | None) -> list[Reversal]:
        """Return the reversals of the rows of one model."""
        return [r for r in self.reversals if r.resource_type.model is model]

    def removed_ids(self, model: type[models.Model] | None) -> list[int]:
        return [r.row.pk for r in self.reversals_of(model) if r.is_removed]

    def exclude_rows(self, obstacles: Iterable[Obstacle]) -> None:
        """Remove the reversals of these obstacles' rows from the plan, and report the obstacles.

        A created row that was to be removed stays, and its other changes are still undone.
        """
        new_obstacles = list(obstacles)
        rows = {(o.event.subject_type, o.event.subject_id) for o in new_obstacles}
        removals = [r for r in self.reversals if r.subject in rows and r.is_removed]
        for reversal in removals:
            reversal.is_removed = False
        still_planned = [r for r in removals if not r.is_empty]
        self.reversals = [r for r in self.reversals if r.subject not in rows or r in still_planned]
        self.obstacles += new_obstacles


def referenced_model_of(model: type[models.Model], name: str) -> type[models.Model] | None:
    """Return the tenant's model that a field refers to, or None."""
    related = model._meta.get_field(name).related_model
    return related if isinstance(related, type) and hasattr(related, "tenant_id") else None
