"""Events as sentences: who did what, and which value became which."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.db import models

from accounts.models import Event
from accounts.tenancy import is_tenant_model

LONGEST = 120  # characters of a value


@dataclass
class Change:
    field: str
    before: str
    after: str


@dataclass
class Entry:
    event: Event
    who: str
    changes: list[Change]


def read_history(events: Sequence[Event]) -> list[Entry]:
    """Entries for the events, in their order; one query per kind of row that they point at."""
    names = _names_of(events)
    return [Entry(event, who_did(event), _changes_of(event, names)) for event in events]


def who_did(event: Event) -> str:
    if event.actor is not None:
        return str(event.actor)
    return f"Operator {event.operator_id}" if event.operator_id else "The system"


def _changes_of(event: Event, names: dict[type[models.Model], dict[int, str]]) -> list[Change]:
    found = []
    for field, (before, after) in event.changes.items():
        target = _target(event.subject_type, field)
        known = names.get(target, {}) if target else {}
        found.append(Change(field.replace("_", " "), _shown(before, known), _shown(after, known)))
    return found


def _shown(value: Any, names: dict[int, str]) -> str:
    if value in (None, "", [], {}):
        return "–"
    if isinstance(value, list):
        return ", ".join(_shown(item, names) for item in value)
    text = names.get(value, str(value)) if isinstance(value, int) else str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _names_of(events: Sequence[Event]) -> dict[type[models.Model], dict[int, str]]:
    wanted: dict[type[models.Model], set[int]] = defaultdict(set)
    for event in events:
        for field, values in event.changes.items():
            target = _target(event.subject_type, field)
            if target is not None:
                flat = [
                    v for value in values for v in (value if isinstance(value, list) else [value])
                ]
                wanted[target] |= {v for v in flat if isinstance(v, int)}
    return {
        model: {pk: str(row) for pk, row in model._default_manager.in_bulk(list(ids)).items()}
        for model, ids in wanted.items()
    }


def _target(subject_type: str, field: str) -> type[models.Model] | None:
    """The model that the values of this field are ids of, if they are."""
    for model in apps.get_models():
        if is_tenant_model(model) and model.__name__.lower() == subject_type:
            try:
                related = model._meta.get_field(field).related_model
            except FieldDoesNotExist:
                return None
            return related if isinstance(related, type) and is_tenant_model(related) else None
    return None
