"""What is known about each event verb: how history shows it, and which verb takes it back."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EventVerb:
    """`sentence` may name fields of the event, as in "moved the task to {project}". `inverse` is
    the verb of an undo, where setting the old values again has a name of its own. Without a
    sentence, history uses the general one of the verb.
    """

    sentence: str | None
    inverse: str | None = None


EVENT_VERBS: dict[tuple[str, str], EventVerb] = {}  # by subject type and verb


def register_event_verb(
    subject_type: str, verb: str, sentence: str | None, *, inverse: str | None = None
) -> None:
    """Register how an event reads in history. Raises ValueError when it has another description."""
    described = EventVerb(sentence, inverse)
    if EVENT_VERBS.setdefault((subject_type, verb), described) != described:
        raise ValueError(f"{subject_type}.{verb} is described twice.")


def sentence_of(subject_type: str, verb: str) -> str | None:
    """The sentence of a verb; None for one that is not described."""
    described = EVENT_VERBS.get((subject_type, verb))
    return described.sentence if described else None


def inverse_of(subject_type: str, verb: str) -> str | None:
    """The verb of an undo; None where an undo is recorded as "changed"."""
    described = EVENT_VERBS.get((subject_type, verb))
    return described.inverse if described else None
