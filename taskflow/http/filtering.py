"""The base of all sets of filters: the parameters of a list, and `where` of a bulk request."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar, get_args, get_origin

from pydantic import MISSING, Field, ValidationInfo, create_model, field_validator

from taskflow.http.paging import PageParams
from taskflow.http.schema import In, Timestamp

MAX_VALUES_PER_FILTER = 100
MAX_FILTER_VALUES = 200  # of all filters of one request
EXCLUSION_SUFFIX = "_not"  # of a filter that excludes rows
F = TypeVar("F", bound="Filters")
V = TypeVar("V")


class Filters(In):
    """A set of filters. Each filter that is sent selects fewer rows.

    An empty value is refused. If it were ignored, a bulk change would reach all rows.
    """

    @field_validator("*", mode="before")
    @classmethod
    def refuse_empty(cls, value: object, info: ValidationInfo) -> object:
        is_blank = isinstance(value, str) and not value.strip()
        is_empty = value is None or is_blank or (isinstance(value, list | dict) and not value)
        if is_empty and info.field_name not in PageParams.model_fields:
            raise ValueError("must not be empty. Leave the filter out, or give it a value")
        return value


class NameFilters(Filters):
    """Filters of a list whose rows are found by a part of their names."""

    q: str | MISSING = Field(
        MISSING,
        min_length=1,
        max_length=200,
        description="A part of a name, in any case.",
        examples=["web"],
    )


class ChangeFilters(Filters):
    """Filters of a list whose rows also change with other rows, such as a task with its tags."""

    updated_since: Timestamp | MISSING = Field(
        MISSING,
        description="Rows whose response has changed at this time or later, also because a tag, a"
        " blocker or the project has changed. Names of users do not count.",
    )


def list_filter_field(description: str | None = None) -> Any:
    """Return the field of a filter that takes a list and selects rows with any of its values."""
    return Field(MISSING, min_length=1, max_length=MAX_VALUES_PER_FILTER, description=description)


def metadata_filter_field() -> Any:
    """Return the field of a filter by values in metadata."""
    return Field(
        MISSING,
        description="Values under keys of the metadata, in a URL as in `metadata.sprint=12` or"
        " `metadata[sprint]=12`. A text, a number, true, false or null; of several values, one is"
        " enough. Nested keys: `metadata.build.status=green`. In a URL, 12 means the number and the"
        " text; in a body, values are compared exactly.",
    )


def metadata_exclusion_field() -> Any:
    """Return the field of the filter that excludes what metadata_filter_field() selects."""
    return Field(
        MISSING,
        description="Excludes the rows that have one of these values under one of these keys of the"
        " metadata, as in `metadata_not.sprint=12`.",
    )


def with_exclusions(filters: type[F]) -> type[F]:
    """Class decorator. Adds a filter `<filter>_not` for each filter that takes a list.

    It excludes the rows that the first filter would select.
    """
    added: dict[str, Any] = {}
    for name, field in filters.model_fields.items():
        excluding = name + EXCLUSION_SUFFIX
        if takes_list(field.annotation) and excluding not in filters.model_fields:
            description = f"Excludes the rows that `{name}` with these values would select."
            added[excluding] = (field.annotation, list_filter_field(description))
    extended: type[F] = create_model(
        filters.__name__,
        __base__=filters,
        __module__=filters.__module__,
        __doc__=filters.__doc__,
        **added,
    )
    return extended


def takes_list(annotation: object) -> bool:
    """Return whether a filter of this type takes several values."""
    return any(get_origin(member) is list for member in (annotation, *get_args(annotation)))


def select_values(filters: In, name: str, choices: Iterable[V]) -> list[V]:
    """Return the values among `choices` that the filters `name` and `name_not` select."""
    sent_filters = filters.sent_fields()
    selected = [value for value in choices if value in sent_filters.get(name, [value])]
    return [
        value for value in selected if value not in sent_filters.get(name + EXCLUSION_SUFFIX, [])
    ]
