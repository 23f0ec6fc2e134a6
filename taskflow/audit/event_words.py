"""The words of sentences about events, in the language of the request.

The texts of a sentence are English in the source, and those of all types of events are in the
catalog: list_texts() yields them. Requests of the API are English, so that they get these texts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from functools import cache
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.utils.translation import gettext

from taskflow.admin.empty import EMPTY
from taskflow.admin.times import show_day, show_time
from taskflow.audit.event_types import known_event_types
from taskflow.audit.resource_types import resource_types
from taskflow.audit.verbs import sentence_of_verb

MAX_VALUE_LENGTH = 120  # characters; longer values are cut
# The predicates for verbs that all resource types have. They name no field but the title.
GENERAL_PREDICATES = {
    "deleted": "moved the {label} to the trash",
    "restored": "took the {label} out of the trash",
    "purged": "deleted the {label} permanently",
    "created": "created the {label} {title}",
}
DELETED_FOR_GOOD = "deleted the {label}"


def predicate_of(subject_type: str, verb: str, *, is_trashed: bool = True) -> str | None:
    """Return the predicate of the sentences about a verb, in English, with names of fields in
    braces. None for a verb of which the sentence lists the changed values.

    `is_trashed` is False for a row that was deleted without the trash.
    """
    predicate = sentence_of_verb(subject_type, verb) or GENERAL_PREDICATES.get(verb)
    if verb == "deleted" and not is_trashed:
        predicate = DELETED_FOR_GOOD
    return predicate and predicate.replace("{label}", label_of_type(subject_type))


def action_of(subject_type: str, verb: str) -> str:
    """Return the predicate of a verb without a sentence, in English: “changed the task”."""
    return f"{verb} the {label_of_type(subject_type)}"


def label_of_type(subject_type: str) -> str:
    resource_type = resource_types().get(subject_type)
    return resource_type.label if resource_type else subject_type


def name_verb(verb: str) -> str:
    """Return a verb as a word: “claim released”."""
    return gettext(verb.replace("_", " "))


def name_type(subject_type: str) -> str:
    return gettext(label_of_type(subject_type))


def name_field(name: str) -> str:
    """Return the name of a recorded field as words: “due on”."""
    return gettext(name.replace("_", " "))


def list_texts() -> Iterator[str]:
    """Yield the English texts that the functions of this module translate: of all known events."""
    types = resource_types()
    for event_type in known_event_types():
        subject_type, _, verb = event_type.partition(".")
        yield verb.replace("_", " ")
        yield label_of_type(subject_type)
        has_trash = subject_type in types and types[subject_type].is_trashable
        for is_trashed in {has_trash, False}:
            predicate = predicate_of(subject_type, verb, is_trashed=is_trashed)
            yield predicate or action_of(subject_type, verb)
    for resource_type in types.values():
        for column in resource_type.model._meta.get_fields():
            if isinstance(column, models.Field) and column.name != "tenant":
                yield column.name.replace("_", " ")


# ---- values -------------------------------------------------------------------------------------


def show_value(value: object, names: Mapping[int, str]) -> str:
    """Return a recorded value for programs: ids as `names`, all else as it is in the JSON."""
    if value in (None, "", [], {}):
        return EMPTY
    if isinstance(value, list):
        return ", ".join(show_value(item, names) for item in value)
    if isinstance(value, dict):
        text = json.dumps(value, ensure_ascii=False)
    else:
        text = names.get(value, str(value)) if isinstance(value, int) else str(value)
    return text if len(text) <= MAX_VALUE_LENGTH else text[: MAX_VALUE_LENGTH - 1] + "…"


def show_value_on_screen(
    subject_type: str, field: str, value: object, names: Mapping[int, str]
) -> str:
    """Return a recorded value as forms show it: a choice by its label, and a time in the zone of
    the tenant.
    """
    column = _find_column(subject_type, field)
    if isinstance(value, bool):
        return gettext("yes") if value else gettext("no")
    if column is None or not isinstance(value, str) or not value:
        return show_value(value, names)
    if isinstance(column, models.DateTimeField):
        return show_time(datetime.fromisoformat(value))
    if isinstance(column, models.DateField):
        return show_day(date.fromisoformat(value))
    label = dict(column.flatchoices).get(value) if column.choices else None
    return str(label) if label is not None else show_value(value, names)


@cache
def _find_column(subject_type: str, field: str) -> models.Field[Any, Any] | None:
    resource_type = resource_types().get(subject_type)
    try:
        column = resource_type.model._meta.get_field(field) if resource_type else None
    except FieldDoesNotExist:
        return None
    return column if isinstance(column, models.Field) else None
