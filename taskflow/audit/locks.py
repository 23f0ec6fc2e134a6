"""Which lock a row gets, and what is read under it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import cache
from typing import Any, TypeVar

from django.db import models

from taskflow.db.query import QueryCache
from taskflow.http.errors import Contended, NotFound
from taskflow.tenancy import TenantModel, with_tenant_parameter

M = TypeVar("M", bound=TenantModel)


def lock_rows(
    rows: Sequence[M], columns: list[str], *, changes_key: bool, relocated: Collection[Any] = ()
) -> dict[Any, dict[str, Any]]:
    """Keep others from changing the rows until we commit; bring them up to date.

    Return the columns as stored, by id. Raises NotFound when a row is gone, and Contended when one
    is in another project than it was read in: what has been asked about that project no longer
    tells who may change it. `relocated` are the ids of rows that the caller itself moves; their
    projects were compared when they were locked before.
    """
    model = type(rows[0])
    columns = sorted({*columns, *model.noted, "version"})
    # Of the default manager, as what has gone to the trash meanwhile is gone; but for a caller who
    # knows that it lies there.
    in_trash = any(getattr(row, "deleted_at", None) for row in rows)
    if len(rows) == 1:
        found = LOCKS.fetch((model, in_trash, changes_key, tuple(columns)), rows[0].pk)
    else:
        locked = _locked(model, in_trash, changes_key, columns)
        found = list(locked.filter(pk__in=[row.pk for row in rows]))
    stored = {values[0]: dict(zip(["pk", *columns], values, strict=True)) for values in found}
    for row in rows:
        if row.pk not in stored:
            raise NotFound("It has been deleted meanwhile.")
        if row.pk not in relocated:
            _refuse_moved(row, stored[row.pk])
        for column in columns:
            setattr(row, column, stored[row.pk][column])
    return stored


@cache
def key_fields(model: type[models.Model]) -> frozenset[str]:
    """The fields of unique keys, by which other rows might point at one. PostgreSQL locks a row FOR
    UPDATE by itself when one of them changes.
    """
    constraints = [c for c in model._meta.constraints if isinstance(c, models.UniqueConstraint)]
    names = {name for c in constraints if c.condition is None for name in c.fields}
    names |= {field.name for field in model._meta.concrete_fields if field.unique}
    return frozenset(names.union(*model._meta.unique_together) - {"tenant"})


def _refuse_moved(row: TenantModel, stored: dict[str, Any]) -> None:
    """Raise Contended when the row's project is no longer the one it was read in."""
    name = row.project_field
    if name in stored and getattr(row, name) != stored[name]:
        raise Contended("It has been moved to another project meanwhile. Send the request again.")


def _locked(model: type[M], in_trash: bool, changes_key: bool, columns: Iterable[str]) -> Any:
    """Rows to lock: FOR UPDATE only where a key is going to change.

    FOR UPDATE waits for every transaction that has inserted a row pointing at these, and such a
    transaction may wait for us. FOR NO KEY UPDATE keeps other writers away just as well.
    """
    manager = model._base_manager if in_trash else model._default_manager
    locked = manager.order_by("pk").select_for_update(no_key=not changes_key)
    return locked.values_list("pk", *columns)


@with_tenant_parameter
def _lock_one(
    model: type[M], in_trash: bool, changes_key: bool, columns: Iterable[str], pk: Any
) -> Any:
    return _locked(model, in_trash, changes_key, columns).filter(pk=pk)


LOCKS = QueryCache(_lock_one)
