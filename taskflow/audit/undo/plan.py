"""The plan of an undo: what becomes of each row, and the obstacles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from taskflow.audit.models import Event
from taskflow.audit.resource_types import ResourceType


@dataclass
class Obstacle:
    """Why an event, or a field of it, cannot be undone, or is not undone."""

    event: Event
    code: str
    detail: str
    field: str | None = None

    def as_error(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "detail": self.detail,
            "event_id": self.event.pk,
            "subject": {"type": self.event.subject_type, "id": self.event.subject_id},
            "field": self.field,
        }


@dataclass(eq=False)
class Reversal:
    """What becomes of one row. If it is removed, its values are used only if it has to stay."""

    resource_type: ResourceType
    row: Any  # as stored, or a new one that is going to be created
    events: list[Event]  # that are undone, newest first
    left: Mapping[int, set[str]]  # fields that are not undone, by the event's id
    values: dict[str, Any] = field(default_factory=dict)  # as recorded, by field
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
    reversals: list[Reversal] = field(default_factory=list)
    obstacles: list[Obstacle] = field(default_factory=list)
    skipped: list[Obstacle] = field(default_factory=list)  # what no undo can restore
    recreated: set[tuple[Any, int]] = field(default_factory=set)  # rows: model and id
    # The locked rows that the events are about, by subject type and id.
    rows: dict[tuple[str, int], Any] = field(default_factory=dict)

    def reversals_of(self, model: Any) -> list[Reversal]:
        return [r for r in self.reversals if r.resource_type.model is model]

    def removed_ids(self, model: Any) -> list[int]:
        return [r.row.pk for r in self.reversals_of(model) if r.is_removed]

    def exclude_rows(self, obstacles: Iterable[Obstacle]) -> None:
        """Leave the rows of these obstacles as they are, and keep the obstacles for the report.

        A created row that would have been removed keeps its other changes in the plan.
        """
        added = list(obstacles)
        rows = {(o.event.subject_type, o.event.subject_id) for o in added}
        staying = [r for r in self.reversals if r.subject in rows and r.is_removed]
        for reversal in staying:
            reversal.is_removed = False
        kept = [r for r in staying if not r.is_empty]
        self.reversals = [r for r in self.reversals if r.subject not in rows or r in kept]
        self.obstacles += added


def target_of(model: Any, name: str) -> Any:
    """Return the tenant's model that a field refers to, or None."""
    related = model._meta.get_field(name).related_model
    return related if isinstance(related, type) and hasattr(related, "tenant_id") else None
