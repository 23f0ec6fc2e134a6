"""Row locks, and the columns that are read again under the lock."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.sql.compiler import SQLCompiler
from django.db.models.sql.query import Query
from django.utils.translation import gettext_noop

from taskflow.db.columns import columns_of
from taskflow.db.query import QueryCache
from taskflow.db.types import Row
from taskflow.http.errors import NotFound
from taskflow.http.unavailable import Contended
from taskflow.tenancy import TenantModel, with_tenant_parameter

RowT = TypeVar("RowT", bound=TenantModel)


class LockMode(StrEnum):
    """Kinds of row locks of PostgreSQL. SQLite has one writer at a time and needs none of them."""

    SHARE = "FOR SHARE"  # keeps the row as it is; others may hold the same lock
    UPDATE = "FOR NO KEY UPDATE"  # to change the row; foreign key checks of others do not wait
    UPDATE_KEY = "FOR UPDATE"  # to delete the row, or to change a column of a unique key


class StaleRead(RuntimeError):
    """A rule has read a column that was not locked and refreshed. Always a bug of the caller.

    Pass the column to lock() or lock_all() before the rule is checked.
    """


def lock_rows(
    rows: Sequence[RowT],
    columns: Collection[str],
    *,
    mode: LockMode,
    relocated: Collection[int] = (),
) -> dict[int, dict[str, Any]]:
    """Keep others from changing the rows until the transaction ends, and refresh columns.

    `columns` are attribute names, such as `owner_id`; `version` and the model's
    `columns_for_dependents` are always refreshed. `relocated` are the ids of rows that the caller
    itself moves to another project; their projects were compared when the rows were first locked.
    One statement, which locks in the order of the ids. Return the stored columns by id.

    Raises NotFound when a row no longer exists, and Contended when a row is in another project than
    the one it was read in: the permissions that the caller has checked were those of that project.
    """
    model = type(rows[0])
    names = sorted({*columns, *model.columns_for_dependents, "version"})
    # The default manager leaves out the trash, so a row that has just been deleted is not found. If
    # the caller itself has loaded a row from the trash, rows in the trash are included.
    in_trash = any(getattr(row, "deleted_at", None) for row in rows)
    if len(rows) == 1:
        locked_values = LOCK_QUERY.fetch((model, in_trash, mode, tuple(names)), rows[0].pk)
    else:
        locked = _locked_rows(model, in_trash, mode, names)
        locked_values = list(locked.filter(pk__in=[row.pk for row in rows]))
    stored = {values[0]: dict(zip(["pk", *names], values, strict=True)) for values in locked_values}
    fresh = frozenset(names)
    for row in rows:
        if row.pk not in stored:
            raise NotFound(gettext_noop("Another request has deleted this object."))
        if row.pk not in relocated:
            _refuse_moved(row, stored[row.pk])
        known, fresh_values = row.__dict__, stored[row.pk]
        for name in names:
            if name not in known or known[name] != fresh_values[name]:
                setattr(row, name, fresh_values[name])
        row.fresh_columns |= fresh
    return stored


def require_fresh(row: TenantModel, *columns: str) -> None:
    """Raise StaleRead unless the columns were read under a lock. A new row is always fresh.

    Rules call it for each column that they read, so that tests fail for a check before the lock.
    """
    if not row._state.adding and not row.fresh_columns.issuperset(columns):
        missing = ", ".join(sorted({*columns} - row.fresh_columns))
        raise StaleRead(f"{missing} of {row!r} must be locked before a rule reads it.")


@cache
def key_fields(model: type[models.Model]) -> frozenset[str]:
    """Return the names of the fields in unique keys, without `tenant`.

    Foreign keys could refer to them, so PostgreSQL itself locks a row FOR UPDATE to change one.
    """
    constraints = [c for c in model._meta.constraints if isinstance(c, models.UniqueConstraint)]
    names = {name for c in constraints if c.condition is None for name in c.fields}
    names |= {field.name for field in columns_of(model) if field.unique}
    return frozenset(names.union(*model._meta.unique_together) - {"tenant"})


def lock_mode_for(model: type[models.Model], names: Iterable[str]) -> LockMode:
    """Return the kind of lock that changing these fields requires."""
    return LockMode.UPDATE if key_fields(model).isdisjoint(names) else LockMode.UPDATE_KEY


def add_row_lock(rows: models.QuerySet[RowT], mode: LockMode) -> models.QuerySet[RowT]:
    """Return the queryset with a lock on its rows. Rows of joined tables are not locked.

    FOR UPDATE waits for every transaction that has inserted a row that refers to one of these, and
    that transaction may wait for this one. The other modes do not wait for it, and prevent changes
    of the rows as well.
    """
    locked = rows.select_for_update(of=("self",), no_key=mode is not LockMode.UPDATE_KEY)
    if mode is LockMode.SHARE:
        locked.query = locked.query.chain(_ShareQuery)
    return locked


class _ShareQuery(Query):
    """A query that locks its rows FOR SHARE."""

    def get_compiler(
        self,
        using: str | None = None,
        connection: BaseDatabaseWrapper | None = None,
        elide_empty: bool = True,
    ) -> SQLCompiler:
        compiler = super().get_compiler(using, connection, elide_empty)
        return _ShareCompiler(self, compiler.connection, using, elide_empty)


class _ShareCompiler(SQLCompiler):
    """Writes FOR SHARE, which Django does not offer."""

    def as_sql(self, *args: Any, **kwargs: Any) -> Any:
        sql, params = super().as_sql(*args, **kwargs)
        return sql.replace(LockMode.UPDATE, LockMode.SHARE), params


def _refuse_moved(row: TenantModel, stored: Mapping[str, Any]) -> None:
    """Raise Contended when the row's project is no longer the one it was read in."""
    name = row.project_field
    if name is not None and name in stored and getattr(row, name) != stored[name]:
        raise Contended(
            "Another request has moved this object to another project. Send the request again."
        )


def _locked_rows(
    model: type[TenantModel], in_trash: bool, mode: LockMode, columns: Iterable[str]
) -> models.QuerySet[TenantModel, Row]:
    manager = model._base_manager if in_trash else model._default_manager
    return add_row_lock(manager.order_by("pk"), mode).values_list("pk", *columns)


@with_tenant_parameter
def _lock_one(
    model: type[TenantModel], in_trash: bool, mode: LockMode, columns: Iterable[str], pk: int
) -> models.QuerySet[TenantModel, Row]:
    return _locked_rows(model, in_trash, mode, columns).filter(pk=pk)


LOCK_QUERY = QueryCache(_lock_one)
