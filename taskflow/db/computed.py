"""
Columns that Python computes from another column of the same row.

A row gets them wherever it gets its values: at an INSERT by pre_save(), and at an UPDATE by
set_computed(), which the recorder calls. They belong to the database alone: the event log, exports,
responses and forms leave them out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from django.db import models

from taskflow.db.columns import columns_of
from taskflow.db.text import fold_key, search_text

LONG_TEXT = 2_000  # characters; a shorter text is folded faster than it is worth keeping
CACHED_TEXTS = 4

if TYPE_CHECKING:
    TextField = models.TextField[str | None, str | None]
else:
    TextField = models.TextField


class ComputedField(TextField):
    """The base class: a text computed from the field `source`; null where that is null.

    It is compared and sorted byte by byte on both databases.
    """

    def __init__(self, source: str, **kwargs: Any) -> None:
        self.source = source
        super().__init__(**_defaults(kwargs) | kwargs)

    def compute(self, text: str) -> str:
        """Return the value of this column for a value of the source."""
        raise NotImplementedError

    def value_of(self, source: str | None) -> str | None:
        """Return the value of this column; None if the source is None."""
        return None if source is None else self.compute(source)

    def pre_save(self, row: models.Model, add: bool) -> str | None:
        # Not by value_of() and setattr(): this runs for each row that is saved.
        source = getattr(row, self.source)
        value = row.__dict__[self.attname] = None if source is None else self.compute(source)
        return value

    def db_parameters(self, connection: Any) -> Any:
        # SQLite compares byte by byte without being told to.
        collation = "C" if connection.vendor == "postgresql" else None
        return super().db_parameters(connection) | {"collation": collation}

    def deconstruct(self) -> Any:
        name, path, args, kwargs = super().deconstruct()
        usual = _defaults(kwargs)
        changed = {n: v for n, v in kwargs.items() if n not in usual or usual[n] != v}
        return name, path, args, {"source": self.source, **changed}


def _defaults(options: dict[str, Any]) -> dict[str, Any]:
    default = None if options.get("null") else ""
    return {"editable": False, "blank": True, "default": default}


class FoldedField(ComputedField):
    """The folded form of a text, for sorting and for uniqueness without case."""

    def compute(self, text: str) -> str:
        return fold_key(text)


class WordsField(ComputedField):
    """What the search reads of a text. The full-text indexes are made from these columns."""

    def compute(self, text: str) -> str:
        return _search_text_once(text) if len(text) >= LONG_TEXT else search_text(text)


@lru_cache(CACHED_TEXTS)
def _search_text_once(text: str) -> str:
    """Return search_text(). A bulk request may write one long text to many rows."""
    return search_text(text)


@cache
def computed_fields(model: type[models.Model]) -> tuple[ComputedField, ...]:
    """Return the computed columns of the model."""
    return tuple(field for field in columns_of(model) if isinstance(field, ComputedField))


def set_computed(
    model: type[models.Model], rows: Iterable[models.Model], names: Collection[str]
) -> set[str]:
    """Compute the columns that depend on the fields `names` of these rows of the model.

    Return the names of these columns, which must be saved with the others. No query.
    """
    fields = [field for field in computed_fields(model) if field.source in names]
    for field in fields:
        for row in rows:
            field.pre_save(row, False)
    return {field.name for field in fields}


def computed_values(model: type[models.Model], values: dict[str, Any]) -> dict[str, str | None]:
    """Return the computed columns for an UPDATE that gives these values to every row."""
    fields = [field for field in computed_fields(model) if field.source in values]
    return {field.name: field.value_of(values[field.source]) for field in fields}


def wrong_values(row: models.Model) -> Iterator[str]:
    """Yield the names of the computed columns whose stored value differs from the computed one."""
    for field in computed_fields(type(row)):
        if getattr(row, field.attname) != field.value_of(getattr(row, field.source)):
            yield field.name
