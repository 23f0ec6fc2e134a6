"""Checks of values that find most rows valid with one look at each value.

Django's clean_fields() makes twelve calls for each field. What is not surely valid here is left to
it, so that its rules and sentences stay the only ones.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from django.core.validators import MaxLengthValidator
from django.db import models

from taskflow.db.columns import columns_of

EMPTY: tuple[Any, ...] = (None, "", [], {})
# Fields with a validator of their own, or of another class, are never surely valid.
TYPES: dict[type[Any], tuple[type[Any], ...]] = {
    models.CharField: (str,),
    models.TextField: (str,),
    models.BooleanField: (bool,),
}


def is_surely_valid(row: models.Model, name: str) -> bool:
    """Return whether clean_fields() would accept the value of a field, and not change it."""
    rule = _rules_of(type(row)).get(name)
    if rule is None:
        return False
    value = row.__dict__.get(rule.attname, row)
    if rule.may_be_empty and value in EMPTY:
        return True
    if not isinstance(value, rule.types) or value == "":
        return False
    if rule.max_length is not None and len(value) > rule.max_length:
        return False
    return rule.choices is None or value in rule.choices


class _Rule(NamedTuple):
    attname: str
    types: tuple[type[Any], ...]  # of valid values that are not empty
    may_be_empty: bool
    max_length: int | None
    choices: frozenset[Any] | None


@cache
def _rules_of(model: type[models.Model]) -> dict[str, _Rule]:
    """Return the rules of the fields that have no other validators, by their names."""
    rules = {}
    for field in columns_of(model):
        has_length = [type(v) for v in field.validators] == [MaxLengthValidator]
        if type(field) is models.JSONField or (type(field) in TYPES and not field.validators):
            max_length = None
        elif type(field) is models.CharField and has_length:
            max_length = field.max_length
        else:
            continue
        choices = frozenset(key for key, _ in field.flatchoices) if field.choices else None
        types = TYPES.get(type(field), ())
        rules[field.name] = _Rule(field.attname, types, field.blank, max_length, choices)
    return rules
