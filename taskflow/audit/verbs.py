"""The event verbs: how history shows each, and under which verb its undo is recorded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EventVerb:
    """The description of one verb of a resource type.

    `sentence` is the predicate of the sentence in history. It may name fields of the event, as in
    "moved the task to {project}". None: history uses a general sentence. `inverse` is the verb that
    an undo is recorded with, if it is not `changed`.
    """

    sentence: str | None
    inverse: str | None = None


EVENT_VERBS: dict[tuple[str, str], EventVerb] = {}  # by subject type and verb


def register_event_verb(
    subject_type: str, verb: str, sentence: str | None, *, inverse: str | None = None
) -> None:
    """Register the description of a verb. Raises ValueError if it has a different one already."""
    described = EventVerb(sentence, inverse)
    if EVENT_VERBS.setdefault((subject_type, verb), described) != described:
        raise ValueError(f"{subject_type}.{verb} is described twice.")


def sentence_of_verb(subject_type: str, verb: str) -> str | None:
    """Return the sentence of a verb, or None if it has no sentence of its own."""
    described = EVENT_VERBS.get((subject_type, verb))
    return described.sentence if described else None


def inverse_verb_of(subject_type: str, verb: str) -> str | None:
    """Return the verb of an undo, or None if an undo is recorded as `changed`."""
    described = EVENT_VERBS.get((subject_type, verb))
    return described.inverse if described else None
