"""Events as sentences: who did what, and which value became which."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.db import models

from taskflow.audit.actor import Actor
from taskflow.audit.models import Event
from taskflow.http.errors import PreconditionFailed
from taskflow.http.preconditions import parse_etag
from taskflow.tenancy import is_tenant_model

LONGEST = 120  # characters of a value
NOTHING = "–"


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

    @property
    def sentence(self) -> str:
        """“Ada completed the task”, “Bob changed the priority from low to high”."""
        taken_back = " (undo)" if self.event.undoes else ""
        return f"{self.who} {_predicate(self.event, self.changes)}{taken_back}"


def read_history(actor: Actor, events: Sequence[Event]) -> list[Entry]:
    """Entries for the events, in their order; one query per kind of row that they point at.

    A row that the actor may not see keeps its number and does not tell its name.
    """
    names = _names_of(actor, events)
    return [Entry(event, describe_actor(event), _changes_of(event, names)) for event in events]


def describe_actor(event: Event) -> str:
    """Return who made the change, and on whose behalf when the event names that user.

    Load the event with its `actor` and `on_behalf_of`; otherwise each costs a query here.
    """
    actor = who_did(event)
    return actor if event.on_behalf_of is None else f"{actor} on behalf of {event.on_behalf_of}"


def who_did(event: Event) -> str:
    if event.actor is not None:
        return str(event.actor)
    return f"Operator {event.operator_id}" if event.operator_id else "The system"


@dataclass
class Rivalry:
    """A field that two have changed, for people."""

    field: str
    base: str
    theirs: str
    yours: str
    detail: str  # who changed it, and when


def read_rivalries(actor: Actor, problem: PreconditionFailed) -> list[Rivalry]:
    """What a 412 says, with names in place of ids."""
    seen = parse_etag(problem.headers.get("ETag", ""))
    if seen is None:
        return []
    theirs, yours = Event(subject_type=seen.noun), Event(subject_type=seen.noun)
    details = {}
    for error in problem.errors:
        name = error["pointer"].removeprefix("#/").removesuffix("_id")
        theirs.changes[name] = [error["base"], error["theirs"]]
        yours.changes[name] = [error["theirs"], error.get("yours", error["base"])]
        details[name.replace("_", " ")] = error["detail"]
    one, other = read_history(actor, [theirs, yours])
    return [
        Rivalry(a.field, a.before, a.after, b.after, details[a.field])
        for a, b in zip(one.changes, other.changes, strict=True)
    ]


# How a change of one field reads; the others of the event go without saying.
PREDICATES = {
    ("task", "completed"): "completed the task",
    ("task", "reopened"): "reopened the task",
    ("task", "assigned"): "assigned the task to {assignee}",
    ("task", "unassigned"): "took the task from {assignee}",
    ("task", "moved"): "moved the task to {project}",
    ("projectmember", "joined"): "let {user} into the project as {role}",
    ("projectmember", "left"): "took {user} out of the project",
    ("page", "published"): "published the page",
    ("page", "unpublished"): "made the page a draft again",
}
NOUNS = {"projectmember": "membership", "apitoken": "token"}
VERBS = {
    "deleted": "moved the {noun} to the trash",
    "restored": "took the {noun} out of the trash",
    "purged": "deleted the {noun} for good",
    "created": "created the {noun} {title}",
}
LONG_TEXTS = {"description", "body", "metadata"}


def _predicate(event: Event, changes: list[Change]) -> str:
    noun = NOUNS.get(event.subject_type, event.subject_type)
    pattern = PREDICATES.get((event.subject_type, event.verb)) or VERBS.get(event.verb)
    if event.verb == "deleted" and "deleted_at" not in event.changes:
        pattern = "deleted the {noun}"
    if pattern is None:
        said = [_said(change) for change in changes]
        listed = " and ".join(filter(None, [", ".join(said[:-1]), *said[-1:]]))
        return f"{event.verb} the {noun}" + (f": {listed}" if listed else "")
    known = {c.field: c.before if c.after == NOTHING else c.after for c in changes}
    title = known.get("title") or known.get("name") or known.get("handle")
    words = defaultdict(lambda: "somebody", known | {"noun": noun})
    words["title"] = f"“{title}”" if title else ""
    return pattern.format_map(words).rstrip()


def _said(change: Change) -> str:
    if change.field in LONG_TEXTS or "…" in (change.before, change.after):
        return change.field
    if change.before == NOTHING:
        return f"{change.field} to {change.after}"
    return f"{change.field} from {change.before} to {change.after}"


def _changes_of(event: Event, names: dict[type[models.Model], dict[int, str]]) -> list[Change]:
    found = []
    for field, (before, after) in sorted(event.changes.items()):
        target = model_of_field(event.subject_type, field)
        known = names.get(target, {}) if target else {}
        found.append(Change(field.replace("_", " "), _shown(before, known), _shown(after, known)))
    return found


def _shown(value: Any, names: dict[int, str]) -> str:
    if value in (None, "", [], {}):
        return NOTHING
    if isinstance(value, list):
        return ", ".join(_shown(item, names) for item in value)
    text = names.get(value, str(value)) if isinstance(value, int) else str(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _names_of(actor: Actor, events: Sequence[Event]) -> dict[type[models.Model], dict[int, str]]:
    wanted: dict[type[models.Model], set[int]] = defaultdict(set)
    for event in events:
        for field, values in event.changes.items():
            target = model_of_field(event.subject_type, field)
            if target is not None:
                flat = [
                    v for value in values for v in (value if isinstance(value, list) else [value])
                ]
                wanted[target] |= {v for v in flat if isinstance(v, int)}
    return {
        model: {row.pk: str(row) for row in _visible(model, actor).filter(pk__in=sorted(ids))}
        for model, ids in wanted.items()
    }


def _visible(model: Any, actor: Actor) -> Any:
    """Rows in the trash too; of what has no visible_to() nothing."""
    rows = model._base_manager.all()
    return rows.visible_to(actor.viewer) if hasattr(rows, "visible_to") else rows.none()


def model_of_field(subject_type: str, field: str) -> type[models.Model] | None:
    """The model that the values of this field are ids of, if they are."""
    for model in apps.get_models():
        if is_tenant_model(model) and model.__name__.lower() == subject_type:
            try:
                related = model._meta.get_field(field).related_model
            except FieldDoesNotExist:
                return None
            return related if isinstance(related, type) and is_tenant_model(related) else None
    return None
