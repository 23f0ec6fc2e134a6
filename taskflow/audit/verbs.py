"""The event verbs: how history shows each, and under which verb its undo is recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from taskflow.audit.values import FieldValues


@dataclass(frozen=True)
class EventVerb:
    """The description of one verb of a resource type.

    `sentence` is the predicate of the sentence in history. It may name fields of the event, as in
    "moved the task to {project}". None: history uses a general sentence. `inverse` is the verb that
    an undo is recorded with, if it is not `changed`. `inverses_by_value` has the exceptions: the
    verb of an undo that sets a field to a value, by (field, value).
    """

    sentence: str | None
    inverse: str | None = None
    inverses_by_value: Mapping[tuple[str, str], str] = field(default_factory=dict)


EVENT_VERBS: dict[tuple[str, str], EventVerb] = {}  # by subject type and verb


def register_event_verb(
    subject_type: str,
    verb: str,
    sentence: str | None,
    *,
    inverse: str | None = None,
    inverses_by_value: Mapping[tuple[str, str], str] | None = None,
) -> None:
    """Register the description of a verb. Raises ValueError if it has a different one already."""
    described = EventVerb(sentence, inverse, inverses_by_value or {})
    if EVENT_VERBS.setdefault((subject_type, verb), described) != described:
        raise ValueError(f"{subject_type}.{verb} is described twice.")


def sentence_of_verb(subject_type: str, verb: str) -> str | None:
    """Return the sentence of a verb, or None if it has no sentence of its own."""
    described = EVENT_VERBS.get((subject_type, verb))
    return described.sentence if described else None


def inverse_verb_of(subject_type: str, verb: str, values: FieldValues) -> str | None:
    """Return the verb of an undo that sets `values`, or None if it is recorded as `changed`."""
    described = EVENT_VERBS.get((subject_type, verb))
    if described is None:
        return None
    for (name, value), inverse in described.inverses_by_value.items():
        if values.get(name) == value:
            return inverse
    return described.inverse
