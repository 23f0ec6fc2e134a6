"""A wrapper of a row through which only columns that are locked and fresh can be read."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from types import FunctionType, MethodType
from typing import Any, TypeVar, cast

from django.conf import settings
from django.db import models

from taskflow.audit.locks import StaleRead
from taskflow.db.columns import columns_of

RowT = TypeVar("RowT", bound=models.Model)
# Columns that never change, or that lock_rows() compares whenever it locks the row.
ALWAYS_FRESH = frozenset({"id", "tenant", "project", "number", "created_at", "created_by"})


def guard_row(row: RowT, columns: Iterable[str]) -> RowT:
    """Return a wrapper of the row that raises StaleRead for all columns except `columns`.

    A row that was not saved yet is returned as it is, and so is every row when the setting
    DECLARED_READS_ONLY is off, which is the case in production.
    """
    if not settings.DECLARED_READS_ONLY or row._state.adding:
        return row
    return cast(RowT, _GuardedRow(row, readable_names(type(row), frozenset(columns))))


@cache
def readable_names(model: type[models.Model], columns: frozenset[str]) -> frozenset[str]:
    """Return all names by which these columns can be read: assignee, and also assignee_id."""
    fields = [f for f in columns_of(model) if f.name in columns | ALWAYS_FRESH]
    return frozenset(name for field in fields for name in (field.name, field.attname))


@cache
def _guarded_names(model: type[models.Model]) -> frozenset[str]:
    """Return the names of the model's columns and relations."""
    fields = model._meta.get_fields()
    return frozenset(n for f in fields for n in (f.name, getattr(f, "attname", f.name)))


class _GuardedRow:
    """Calls properties and methods of the model with the wrapper instead of the row."""

    def __init__(self, row: models.Model, readable: frozenset[str]) -> None:
        object.__setattr__(self, "_row", row)
        object.__setattr__(self, "_readable", readable)

    @property  # type: ignore[misc]  # isinstance() finds the model
    def __class__(self) -> Any:
        return vars(self)["_row"].__class__

    def __getattr__(self, name: str) -> Any:
        model: type[models.Model] = self._row.__class__
        if name in _guarded_names(model) and name not in self._readable:
            raise StaleRead(
                f"{model.__name__}.{name} was read, but the change does not declare it in `locks`."
            )
        attribute = getattr(model, name, None)
        if isinstance(attribute, property) and attribute.fget and name != "pk":
            return attribute.fget(self)
        if isinstance(attribute, FunctionType):
            return MethodType(attribute, self)
        return getattr(self._row, name)

    def __setattr__(self, name: str, value: object) -> None:
        raise StaleRead(f"{name} must not be set on the row. Return its value from apply().")

    def __eq__(self, other: object) -> bool:
        return bool(self._row == getattr(other, "_row", other))

    def __hash__(self) -> int:
        return hash(self._row)

    def __str__(self) -> str:
        return str(self._row.pk)
