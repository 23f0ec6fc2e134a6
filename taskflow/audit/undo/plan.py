"""What an undo is made of: what becomes of each row, and what stands in the way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from taskflow.audit.models import Event
from taskflow.audit.resource_types import ResourceType


@dataclass
class Obstacle:
    """Why something cannot be taken back, or is not."""

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
    """What becomes of one row. If it is withdrawn, its values matter only when it has to stay."""

    resource_type: ResourceType
    row: Any  # as stored, or to be made again
    events: list[Event]  # that are taken back, newest first
    left: Mapping[int, set[str]]  # fields of them that are not, by the event's id
    values: dict[str, Any] = field(default_factory=dict)  # as recorded
    links: dict[str, dict[int, bool]] = field(default_factory=dict)  # to be, or not, by id
    is_made_again: bool = False
    is_withdrawn: bool = False

    @property
    def is_empty(self) -> bool:
        return not (self.values or self.links or self.is_made_again or self.is_withdrawn)

    @property
    def subject(self) -> tuple[str, int]:
        return self.events[0].subject_type, self.events[0].subject_id

    def obstacle(self, code: str, detail: str) -> Obstacle:
        return Obstacle(self.events[0], code, detail)


@dataclass
class Plan:
    reversals: list[Reversal] = field(default_factory=list)
    obstacles: list[Obstacle] = field(default_factory=list)
    left: list[Obstacle] = field(default_factory=list)  # what no undo brings back
    coming: set[tuple[Any, int]] = field(default_factory=set)  # rows made again: model and id
    # The rows that the events are of, locked, by subject type and id.
    rows: dict[tuple[str, int], Any] = field(default_factory=dict)

    def of(self, model: Any) -> list[Reversal]:
        return [r for r in self.reversals if r.resource_type.model is model]

    def withdrawn(self, model: Any) -> list[int]:
        return [r.row.pk for r in self.of(model) if r.is_withdrawn]

    def leave_out(self, obstacles: Iterable[Obstacle]) -> None:
        """Go on without the rows that these stand at."""
        found = list(obstacles)
        rows = {(o.event.subject_type, o.event.subject_id) for o in found}
        staying = [r for r in self.reversals if r.subject in rows and r.is_withdrawn]
        for reversal in staying:
            reversal.is_withdrawn = False
        kept = [r for r in staying if not r.is_empty]
        self.reversals = [r for r in self.reversals if r.subject not in rows or r in kept]
        self.obstacles += found


def target_of(model: Any, name: str) -> Any:
    related = model._meta.get_field(name).related_model
    return related if isinstance(related, type) and hasattr(related, "tenant_id") else None
