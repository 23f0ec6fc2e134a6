"""The limit on the text that one request writes, for every channel.

The event log stores each text before and after a change, and the search index removes the former
words and adds the new ones. All of this happens under locks; on SQLite nobody else can write
meanwhile. A request is short, but one of its values may be written to hundreds of rows, and an undo
repeats the texts of other requests.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from functools import cache

from django.db import models

from taskflow.audit.values import FieldValues
from taskflow.db.computed import WordsField, computed_fields
from taskflow.http.errors import Invalid
from taskflow.tenancy import Changes

MAX_TEXT_BYTES = 4 * 1024 * 1024  # of one request, new and replaced


def check_text_size(entries: Iterable[tuple[models.Model, Changes]]) -> None:
    """Raise Invalid if these changes of rows write more than MAX_TEXT_BYTES.

    Call it before anything is written. The rows have their new values.
    """
    size = 0
    reindexed: dict[int, int] = {}  # by id: the index is written once for each row
    for row, changes in entries:
        size += sum(measure_text(value) for pair in changes.values() for value in pair)
        reindexed.setdefault(row.pk, 0)
        reindexed[row.pk] = max(reindexed[row.pk], measure_other_words(row, changes))
    size += sum(reindexed.values())
    if size > MAX_TEXT_BYTES:
        raise Invalid(describe_excess(), code="too_many")


def describe_excess() -> str:
    """Return the sentence for a request that writes too much."""
    return (
        f"The request would write more than {MAX_TEXT_BYTES >> 20} MiB of text, new and replaced."
        " For a task whose title changes, its description counts as well. Change fewer tasks at a"
        " time."
    )


def measure_text(value: object) -> int:
    """Return the size of a text, or of metadata and lists as JSON, in bytes. Others have none."""
    if isinstance(value, str):
        return len(value.encode())
    return len(json.dumps(value)) if isinstance(value, dict | list) else 0


def measure_other_words(row: models.Model, changed: Collection[str] | FieldValues) -> int:
    """Return the size of the searched texts that do not change themselves, in bytes.

    The index has one entry for all searched texts of a row. If one of them changes, the words of
    the others are removed and added, too.
    """
    searched = _searched_fields(type(row))
    if searched.isdisjoint(changed):
        return 0
    return sum(2 * measure_text(getattr(row, name)) for name in searched if name not in changed)


@cache
def _searched_fields(model: type[models.Model]) -> frozenset[str]:
    fields = computed_fields(model)
    return frozenset(field.source for field in fields if isinstance(field, WordsField))
