"""Events as sentences for people: who changed what, from which value to which."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import models

from taskflow.audit.actor import Actor
from taskflow.audit.models import Event
from taskflow.audit.resource_types import model_of_field, resource_types
from taskflow.audit.verbs import sentence_of_verb
from taskflow.db.query import QueryCache
from taskflow.db.statements import IdArray, IsInIds
from taskflow.db.viewer import Viewer
from taskflow.http.errors import PreconditionFailed
from taskflow.http.preconditions import parse_etag
from taskflow.tenancy import with_tenant_parameter

MAX_VALUE_LENGTH = 120  # characters; longer values are cut
USERS_OF_EVENT = ["actor", "token_issued_by", "on_behalf_of"]  # whom describe_actor() names
EMPTY = "–"  # shown for a value that is null or empty


@dataclass
class ShownChange:
    """A changed field, with its values as they are shown to people."""

    field: str
    before: str
    after: str


@dataclass
class HistoryEntry:
    """An event as it is shown to people."""

    event: Event
    author: str  # who made the change, and on whose behalf
    changes: list[ShownChange]

    @property
    def sentence(self) -> str:
        """“Ada completed the task”, “Bob changed the priority from low to high”."""
        suffix = " (undo)" if self.event.undoes else ""
        return f"{self.author} {_predicate(self.event, self.changes)}{suffix}"


def read_history(actor: Actor, events: Sequence[Event]) -> list[HistoryEntry]:
    """Return entries for the events, in their order. One query per model that the changes refer to.

    A row that the actor cannot see is shown by its id instead of its name.
    """
    names = _load_names(actor, events)
    return [
        HistoryEntry(event, describe_actor(event), _describe_changes(event, names))
        for event in events
    ]


def describe_actor(event: Event) -> str:
    """Return who made the change, who created the token for it, and on whose behalf.

    The last two only where the event names them. Load the event with USERS_OF_EVENT; otherwise each
    costs a query here.
    """
    parts = [name_actor(event)]
    if event.token_issued_by is not None:
        parts.append(f"with a token from {event.token_issued_by}")
    if event.on_behalf_of is not None:
        parts.append(f"on behalf of {event.on_behalf_of}")
    return " ".join(parts)


def name_actor(event: Event) -> str:
    """Return the name of the user or operator who made the change.

    An event with an address and without a user was caused by somebody who has not signed in.
    """
    if event.actor is not None:
        return str(event.actor)
    if event.operator_id:
        return f"Operator {event.operator_id}"
    return "Somebody" if event.address else "The system"


@dataclass
class FieldConflict:
    """A field that two users have changed, as shown to people."""

    field: str
    base: str
    theirs: str
    yours: str
    detail: str  # who changed it last, and when


def read_field_conflicts(actor: Actor, problem: PreconditionFailed) -> list[FieldConflict]:
    """Return the conflicts of a 412 response, with names in place of ids."""
    etag = parse_etag(problem.headers.get("ETag", ""))
    if etag is None:
        return []
    theirs, yours = Event(subject_type=etag.resource_type), Event(subject_type=etag.resource_type)
    details = {}
    for error in problem.errors:
        name = error["pointer"].removeprefix("#/").removesuffix("_id")
        theirs.changes[name] = [error.get("base"), error["theirs"]]  # a base can be hidden
        yours.changes[name] = [error["theirs"], error.get("yours", error.get("base"))]
        details[name.replace("_", " ")] = error["detail"]
    one, other = read_history(actor, [theirs, yours])
    return [
        FieldConflict(a.field, a.before, a.after, b.after, details[a.field])
        for a, b in zip(one.changes, other.changes, strict=True)
    ]


# The predicates for verbs that all resource types have. They name no field but the title.
GENERAL_PREDICATES = {
    "deleted": "moved the {label} to the trash",
    "restored": "took the {label} out of the trash",
    "purged": "deleted the {label} permanently",
    "created": "created the {label} {title}",
}
LONG_TEXTS = {"description", "body", "links", "metadata"}


def _predicate(event: Event, changes: list[ShownChange]) -> str:
    resource_type = resource_types().get(event.subject_type)
    label = resource_type.label if resource_type else event.subject_type
    own = sentence_of_verb(event.subject_type, event.verb)
    pattern = own or GENERAL_PREDICATES.get(event.verb)
    if event.verb == "deleted" and "deleted_at" not in event.changes:
        pattern = "deleted the {label}"
    if pattern is None:
        described = [_describe_change(change) for change in changes]
        listed = " and ".join(filter(None, [", ".join(described[:-1]), *described[-1:]]))
        return f"{event.verb} the {label}" + (f": {listed}" if listed else "")
    values = {c.field: c.before if c.after == EMPTY else c.after for c in changes}
    title = values.get("title") or values.get("name") or values.get("handle")
    shown = values | {"label": label, "address": event.address or "an unknown address"}
    placeholders = defaultdict(lambda: "a deleted user", shown)
    placeholders["title"] = f"“{title}”" if title else ""
    return pattern.format_map(placeholders).rstrip()


def _describe_change(change: ShownChange) -> str:
    if change.field in LONG_TEXTS or "…" in (change.before, change.after):
        return change.field
    if change.before == EMPTY:
        return f"{change.field} to {change.after}"
    return f"{change.field} from {change.before} to {change.after}"


def _describe_changes(
    event: Event, names: dict[type[models.Model], dict[int, str]]
) -> list[ShownChange]:
    changes = []
    for field, (before, after) in sorted(event.changes.items()):
        target = model_of_field(event.subject_type, field)
        labels = names.get(target, {}) if target else {}
        name = field.replace("_", " ")
        changes.append(ShownChange(name, _format(before, labels), _format(after, labels)))
    return changes


def _format(value: object, names: dict[int, str]) -> str:
    if value in (None, "", [], {}):
        return EMPTY
    if isinstance(value, list):
        return ", ".join(_format(item, names) for item in value)
    if isinstance(value, dict):
        text = json.dumps(value, ensure_ascii=False)
    else:
        text = names.get(value, str(value)) if isinstance(value, int) else str(value)
    return text if len(text) <= MAX_VALUE_LENGTH else text[: MAX_VALUE_LENGTH - 1] + "…"


def _load_names(actor: Actor, events: Sequence[Event]) -> dict[type[models.Model], dict[int, str]]:
    ids_by_model: dict[type[models.Model], set[int]] = defaultdict(set)
    for event in events:
        for field, values in event.changes.items():
            target = model_of_field(event.subject_type, field)
            if target is not None:
                flat = [
                    v for value in values for v in (value if isinstance(value, list) else [value])
                ]
                ids_by_model[target] |= {v for v in flat if isinstance(v, int)}
    return {
        model: {
            row.pk: str(row)
            for row in _named_rows.fetch_objects(
                (model,), actor.viewer, IdArray(tuple(sorted(ids)))
            )
        }
        for model, ids in ids_by_model.items()
    }


@with_tenant_parameter
def _select_named_rows(model: Any, viewer: Viewer, ids: IdArray) -> models.QuerySet[Any]:
    """Select the rows with these ids that the viewer can see, also those in the trash.

    Selects no rows of a model without visible_to().
    """
    rows = model._base_manager.all()
    visible = rows.visible_to(viewer) if hasattr(rows, "visible_to") else rows.none()
    named: models.QuerySet[Any] = visible.filter(IsInIds("pk", ids))
    return named


_named_rows: QueryCache[Any] = QueryCache(_select_named_rows)
