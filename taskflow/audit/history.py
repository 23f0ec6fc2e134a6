"""Events as sentences for people: who changed what, from which value to which."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import models
from django.utils.translation import gettext

from taskflow.admin.empty import EMPTY
from taskflow.admin.refusals import write_in_words
from taskflow.audit.actor import Actor
from taskflow.audit.event_words import (
    action_of,
    name_field,
    name_verb,
    predicate_of,
    show_value,
    show_value_on_screen,
)
from taskflow.audit.models import Event
from taskflow.audit.resource_types import model_of_field
from taskflow.db.query import QueryCache
from taskflow.db.statements import IdArray, IsInIds
from taskflow.db.viewer import Viewer
from taskflow.http.errors import PreconditionFailed
from taskflow.http.preconditions import parse_etag
from taskflow.tenancy import with_tenant_parameter

USERS_OF_EVENT = ["actor", "token_issued_by", "on_behalf_of"]  # whom describe_actor() names


@dataclass
class ShownChange:
    """A changed field, with its values as they are shown to people."""

    field: str  # its name in words, in English
    before: str
    after: str

    @property
    def label(self) -> str:
        """The name of the field in the language of the request."""
        return name_field(self.field)


@dataclass
class HistoryEntry:
    """An event as it is shown to people."""

    event: Event
    author: str  # who made the change, and on whose behalf
    changes: list[ShownChange]

    @property
    def verb(self) -> str:
        """The verb as a word: “completed”."""
        return name_verb(self.event.verb)

    @property
    def sentence(self) -> str:
        """“Ada completed the task”, “Bob changed the priority from low to high”."""
        suffix = " ({})".format(gettext("undo")) if self.event.undoes else ""
        return f"{self.author} {_predicate(self.event, self.changes)}{suffix}"


def read_history(
    actor: Actor, events: Sequence[Event], *, on_screen: bool = False
) -> list[HistoryEntry]:
    """Return entries for the events, in their order. One query per model that the changes refer to.

    A row that the actor cannot see is shown by its id instead of its name. The values are those of
    the JSON of the API, or with `on_screen` those of forms.
    """
    names = _load_names(actor, events)
    return [
        HistoryEntry(
            event, describe_actor(event), _describe_changes(event, names, on_screen=on_screen)
        )
        for event in events
    ]


def describe_actor(event: Event) -> str:
    """Return who made the change, who created the token for it, and on whose behalf.

    The last two only where the event names them. Load the event with USERS_OF_EVENT; otherwise each
    costs a query here.
    """
    parts = [name_actor(event)]
    if event.token_issued_by is not None:
        parts.append(gettext("with a token from %(user)s") % {"user": event.token_issued_by})
    if event.on_behalf_of is not None:
        parts.append(gettext("on behalf of %(user)s") % {"user": event.on_behalf_of})
    return " ".join(parts)


def name_actor(event: Event) -> str:
    """Return the name of the user or operator who made the change.

    An event with an address and without a user was caused by somebody who has not signed in.
    """
    if event.actor is not None:
        return str(event.actor)
    if event.operator_id:
        return gettext("Operator %(id)s") % {"id": event.operator_id}
    return gettext("Somebody") if event.address else gettext("The system")


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
        details[name.replace("_", " ")] = write_in_words(error["detail"])
    one, other = read_history(actor, [theirs, yours], on_screen=True)
    return [
        FieldConflict(a.label, a.before, a.after, b.after, details[a.field])
        for a, b in zip(one.changes, other.changes, strict=True)
    ]


LONG_TEXTS = {"description", "body", "links", "metadata"}


def _predicate(event: Event, changes: list[ShownChange]) -> str:
    is_trashed = "deleted_at" in event.changes
    pattern = predicate_of(event.subject_type, event.verb, is_trashed=is_trashed)
    if pattern is None:
        described = [_describe_change(change) for change in changes]
        listed = gettext(" and ").join(filter(None, [", ".join(described[:-1]), *described[-1:]]))
        action = gettext(action_of(event.subject_type, event.verb))
        return action + (f": {listed}" if listed else "")
    values = {c.field: c.before if c.after == EMPTY else c.after for c in changes}
    title = values.get("title") or values.get("name") or values.get("handle")
    shown = values | {"address": event.address or gettext("an unknown address")}
    placeholders = defaultdict(lambda: gettext("a deleted user"), shown)
    placeholders["title"] = f"“{title}”" if title else ""
    return gettext(pattern).format_map(placeholders).rstrip()


def _describe_change(change: ShownChange) -> str:
    if change.field in LONG_TEXTS or "…" in (change.before, change.after):
        return change.label
    values = {"field": change.label, "before": change.before, "after": change.after}
    if change.before == EMPTY:
        return gettext("%(field)s to %(after)s") % values
    return gettext("%(field)s from %(before)s to %(after)s") % values


def _describe_changes(
    event: Event, names: dict[type[models.Model], dict[int, str]], *, on_screen: bool
) -> list[ShownChange]:
    changes = []
    for field, values in sorted(event.changes.items()):
        target = model_of_field(event.subject_type, field)
        labels = names.get(target, {}) if target else {}
        before, after = (
            show_value_on_screen(event.subject_type, field, value, labels)
            if on_screen
            else show_value(value, labels)
            for value in values
        )
        changes.append(ShownChange(field.replace("_", " "), before, after))
    return changes


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
