"""New rows of models, without the work for each field that `Model.__init__` does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple, TypeVar

from django.db import DEFAULT_DB_ALIAS, models
from django.db.models.base import ModelState

from taskflow.db.columns import columns_of

M = TypeVar("M", bound=models.Model)


def build(model: type[M], values: Mapping[str, Any]) -> M:
    """Return `model(**values)`. `values` are those of columns, and rows by the names of relations.

    Raises TypeError for an unknown name. Signals of initialization are not sent.
    """
    defaults, factories, attnames = _plan_of(model)
    row = model.__new__(model)
    row._state = state = ModelState()
    stored = row.__dict__
    stored |= defaults
    for name, factory in factories:
        if name not in values:
            stored[name] = factory()
    for name, value in values.items():
        if name in attnames:
            state.fields_cache[name] = value
            stored[attnames[name]] = None
            if value is not None:
                stored[attnames[name]], state.db = value.pk, DEFAULT_DB_ALIAS
        elif name in stored:
            stored[name] = value
        else:
            raise TypeError(f"{model.__name__} has no column {name}.")
    return row


class _Plan(NamedTuple):
    defaults: dict[str, Any]  # by attribute; None where a factory makes it
    factories: list[tuple[str, Callable[[], Any]]]
    attnames: dict[str, str]  # of relations, by their names


@cache
def _plan_of(model: type[models.Model]) -> _Plan:
    fields = [field for field in columns_of(model) if not field.generated]
    made = [field for field in fields if callable(field.default) and field.has_default()]
    factories = [(field.attname, field.get_default) for field in made]
    defaults = {f.attname: None if f in made else f.get_default() for f in fields}
    return _Plan(defaults, factories, {f.name: f.attname for f in fields if f.is_relation})
