"""Checks of values that find most rows valid with one look at each value.

Django's clean_fields() makes twelve calls for each field. What is not surely valid here is left to
it, so that its rules and sentences stay the only ones.
"""

from __future__ import annotations

from collections.abc import Container
from datetime import date, datetime
from functools import cache
from typing import Any, NamedTuple

from django.core.validators import MaxLengthValidator, MaxValueValidator, MinValueValidator
from django.db import models

from taskflow.db.columns import columns_of
from taskflow.db.computed import ComputedField

EMPTY: tuple[Any, ...] = (None, "", [], {})
# Fields with a validator of their own, or of another class, are surely valid only when empty.
TYPES: dict[type[Any], type[Any]] = {
    models.CharField: str,
    models.TextField: str,
    models.BooleanField: bool,
    models.IntegerField: int,
    models.BigIntegerField: int,
    models.PositiveIntegerField: int,
    models.DateField: date,
    models.DateTimeField: datetime,
}
LIMITS = {MaxLengthValidator, MinValueValidator, MaxValueValidator}


def find_doubtful(row: models.Model, names: Container[str] | None = None) -> set[str]:
    """Return the fields whose values clean_fields() might refuse or change, of all or of `names`.

    Without relations, and without columns that the database or Python computes.
    """
    stored, doubtful = row.__dict__, set()
    # One loop without calls, because this runs for each row that is written.
    for rule in _rules_of(type(row)):
        if names is not None and rule.name not in names:
            continue
        value: Any = stored[rule.attname] if rule.attname in stored else row  # noqa: SIM401 - no call
        if value is None:
            is_valid = rule.may_be_none
        elif value in EMPTY:
            is_valid = rule.may_be_empty
        elif type(value) is not rule.type and not (rule.type is str and isinstance(value, str)):
            is_valid = False
        else:
            is_valid = (
                (rule.choices is None or value in rule.choices)
                and (rule.max_length is None or len(value) <= rule.max_length)
                and (rule.least is None or value >= rule.least)
                and (rule.greatest is None or value <= rule.greatest)
            )
        if not is_valid:
            doubtful.add(rule.name)
    return doubtful


class _Rule(NamedTuple):
    name: str
    attname: str
    may_be_none: bool
    may_be_empty: bool
    type: type[Any] | None  # of valid values that are not empty; None if clean_fields() decides
    choices: frozenset[Any] | None
    max_length: int | None
    least: Any
    greatest: Any


@cache
def _rules_of(model: type[models.Model]) -> list[_Rule]:
    return [
        _rule_of(field)
        for field in columns_of(model)
        if not (field.is_relation or field.generated or isinstance(field, ComputedField))
    ]


def _rule_of(field: Any) -> _Rule:
    limits = {type(v): v.limit_value for v in field.validators if type(v) in LIMITS}
    has_others = len(limits) < len(field.validators)
    kind = None if has_others else TYPES.get(type(field))
    # clean_fields() does not validate fields that no form has.
    may_be_none = field.blank or (not field.editable and kind not in (None, bool))
    return _Rule(
        field.name,
        field.attname,
        may_be_none,
        field.blank,
        kind,
        frozenset(key for key, _ in field.flatchoices) if field.choices else None,
        limits.get(MaxLengthValidator),
        limits.get(MinValueValidator),
        limits.get(MaxValueValidator),
    )
