"""Values of rows: whether fields accept them, and how the event log stores them as JSON."""

from __future__ import annotations

from collections.abc import Container, Mapping
from datetime import UTC, date, datetime
from functools import cache
from types import NoneType
from typing import Any, cast

from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import models

from taskflow.db.columns import columns_of
from taskflow.db.computed import ComputedField
from taskflow.db.quick_checks import find_doubtful
from taskflow.http.errors import Invalid
from taskflow.tenancy import Changes, TenantModel

# By field name: values of columns, and the linked rows of many-to-many fields.
FieldValues = Mapping[str, Any]
UNRECORDED = {"id", "tenant", "created_at", "updated_at", "version"}
PLAIN_TYPES = frozenset({str, int, bool, float, dict, list, NoneType})  # recorded as they are
REDACTED = "…"  # recorded instead of values that must not be in the log


def as_recorded(value: object) -> object:
    """Return the value as JSON: a row as its id, links as a list of ids, days and times in ISO
    8601, and times in UTC.
    """
    if type(value) in PLAIN_TYPES:
        return value
    if isinstance(value, models.Model):
        return value.pk
    if isinstance(value, models.QuerySet):
        return sorted(row.pk for row in value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return value


def find_differences(before: FieldValues, after: FieldValues) -> dict[str, list[object]]:
    """Return {name: [before, after]} for the values of `after` that differ."""
    return {n: [before[n], after[n]] for n in after if not are_equal_as_json(before[n], after[n])}


def are_equal_as_json(before: object, after: object) -> bool:
    """Compare JSON values. In JSON true and 1 differ; in Python they are equal."""
    if isinstance(before, dict) and isinstance(after, dict):
        return before.keys() == after.keys() and all(
            are_equal_as_json(before[k], after[k]) for k in before
        )
    if isinstance(before, list) and isinstance(after, list):
        return len(before) == len(after) and all(map(are_equal_as_json, before, after))
    return bool(before == after) and isinstance(before, bool) == isinstance(after, bool)


def snapshot(row: TenantModel) -> dict[str, object]:
    """Return all recorded values that are not empty, as JSON, by field name."""
    stored, values = row.__dict__, {}
    for name, attname in recorded_fields(type(row)):
        value = stored[attname] if attname in stored else getattr(row, attname)
        if value not in (None, "", {}, []):
            plain = type(value) in PLAIN_TYPES  # most often, so that no call is made
            values[name] = value if plain else as_recorded(value)
    return values


@cache
def recorded_fields(model: type[TenantModel]) -> list[tuple[str, str]]:
    """Return the name and the attribute name of each field that is recorded."""
    unrecorded = UNRECORDED | model.unrecorded
    fields = [f for f in columns_of(model) if not f.generated and not isinstance(f, ComputedField)]
    return [(f.name, f.attname) for f in fields if f.name not in unrecorded]


def is_creation(model: type[models.Model], changes: Changes) -> bool:
    """Return whether these changes of an event create the row."""
    return _has_required(model, changes, 0)


def is_deletion(model: type[models.Model], changes: Changes) -> bool:
    """Return whether these changes of an event delete the row."""
    return _has_required(model, changes, 1)


def _has_required(model: type[models.Model], changes: Changes, side: int) -> bool:
    """Return whether the event has null for a column that cannot be null.

    `side` is 0 for the values before the event, 1 for those after it. Null then means that the row
    did not exist.
    """
    for name, pair in changes.items():
        try:
            column: Any = model._meta.get_field(name)
        except FieldDoesNotExist:  # the field of a link is recorded on both rows; one model has it
            continue
        if pair[side] is None and column.concrete and not column.null:
            return True
    return False


def read_column(row: models.Model, name: str) -> object:
    """Return the value of a field; for a foreign key the id, without loading the row."""
    return getattr(row, attname_of(type(row), name))


@cache
def attname_of(model: type[models.Model], name: str) -> str:
    """Return the name of the attribute with a field's value: assignee_id for assignee."""
    return str(cast(Any, model._meta.get_field(name)).attname)


def check_fields(row: TenantModel, names: Container[str] | None = None) -> None:
    """Run the validators of all fields, or only of the fields `names`.

    The database checks foreign keys and uniqueness. Raises Invalid, with a pointer for each field.
    """
    doubtful = find_doubtful(row, names)
    if not doubtful:
        return
    try:
        row.clean_fields(exclude={f.name for f in columns_of(type(row))} - doubtful)
    except ValidationError as error:
        errors = [
            {"pointer": f"#/{name}", "code": "invalid", "detail": " ".join(messages)}
            for name, messages in error.message_dict.items()
        ]
        raise Invalid(str(errors[0]["detail"]), errors=errors) from None
