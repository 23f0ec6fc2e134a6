"""Scopes: transactions bound to one tenant."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from django.db import connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, TransactionStatus

from taskflow.documents import Param

if TYPE_CHECKING:
    from accounts.models import Tenant

log = logging.getLogger("taskflow.tenancy")

OWNER_ROLE, APP_ROLE = "taskflow_owner", "taskflow_app"
ACROSS = "across"

_scope: ContextVar[int | str | Param | None] = ContextVar("tenant", default=None)
# SQLite has one writer; waiting here is fair, its busy timeout is not.
_sqlite_writer = threading.RLock()


class TenantError(RuntimeError):
    """Rows were reached outside a tenant, or across tenants. Always a bug, never an answer."""


def inside(tenant: Tenant | int, *, reading: bool = False) -> AbstractContextManager[None]:
    """Open a transaction in which only `tenant` exists. Nested in itself it does nothing.

    With `reading`, SQLite does not queue for the write lock; writing may then fail.
    Raises TenantError inside the scope of another tenant.
    """
    return _enter(tenant if isinstance(tenant, int) else tenant.pk, reading=reading)


def across_tenants(reason: str) -> AbstractContextManager[None]:
    """Lift the wall, as the owner role. Logged; test_wall.py lists who may.

    Raises TenantError where the database gave us no owner role (see docs/architecture.md).
    """
    log.warning("across tenants", extra={"reason": reason})
    return _enter(ACROSS, reading=False)


@contextmanager
def without_tenant() -> Iterator[None]:
    """Querysets made inside have a hole, `tenant`, instead of the scope's: for Compiled."""
    token = _scope.set(Param("tenant"))
    try:
        yield
    finally:
        _scope.reset(token)


def open_scope() -> int | str | Param | None:
    """What is open here: a tenant's id, ACROSS, a hole for Compiled, or nothing."""
    return _scope.get()


def current_tenant_id() -> int | None:
    """The scope's tenant, or None outside one. A field default, so it must not raise."""
    scope = _scope.get()
    return scope if isinstance(scope, int) else None


@contextmanager
def _enter(scope: int | str, *, reading: bool) -> Iterator[None]:
    outer = _scope.get()
    if outer is not None:
        if outer != scope:
            raise TenantError(f"scope {scope} was opened inside scope {outer}")
        yield
        return
    with _writer_turn(reading), transaction.atomic():
        _bind(connection, scope)
        token = _scope.set(scope)
        try:
            yield
        finally:
            _scope.reset(token)
    if connection.in_atomic_block:  # inside a larger transaction SET LOCAL outlives our savepoint
        _bind(connection, None)


@contextmanager
def _writer_turn(reading: bool) -> Iterator[None]:
    if connection.vendor != "sqlite" or connection.in_atomic_block:
        yield
        return
    connection.ensure_connection()  # which is when it learns its usual mode
    sqlite: Any = connection
    mode = sqlite.transaction_mode
    with nullcontext() if reading else _sqlite_writer:
        sqlite.transaction_mode = "DEFERRED" if reading else mode
        try:
            yield
        finally:
            sqlite.transaction_mode = mode


# ---- PostgreSQL: binding the transaction ------------------------------------------------------

_roles_in_use: dict[str, bool] = {}  # by database name


def _bind(connection: BaseDatabaseWrapper, scope: int | str | None) -> None:
    if connection.vendor != "postgresql":
        return
    tenant = str(int(scope)) if isinstance(scope, int) else ""
    settings = f"set_config('taskflow.tenant', '{tenant}', true)"
    if has_roles(connection):
        role = {None: "none", ACROSS: OWNER_ROLE}.get(scope, APP_ROLE)  # type: ignore[arg-type]
        settings += f", set_config('role', '{role}', true)"
    elif scope == ACROSS:
        raise TenantError("This database has no owner role: no query may cross tenants.")
    _send(connection, f"SELECT {settings}")


def has_roles(connection: BaseDatabaseWrapper) -> bool:
    """Whether the tables belong to the owner role, so that scopes work as the app role."""
    name = str(connection.settings_dict["NAME"])
    if name not in _roles_in_use:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT tableowner = %s FROM pg_tables WHERE tablename = 'django_migrations'"
                " AND schemaname = current_schema()",
                [OWNER_ROLE],
            )
            row = cursor.fetchone()
        if row is None:
            return False  # not migrated yet: ask again
        _roles_in_use[name] = row[0]
    return _roles_in_use[name]


def forget_roles(connection: BaseDatabaseWrapper) -> None:
    """Migrating may have changed who owns the tables."""
    _roles_in_use.pop(str(connection.settings_dict["NAME"]), None)


def _send(connection: BaseDatabaseWrapper, sql: str) -> None:
    """Send `sql`, together with the BEGIN when psycopg still owes one: no extra round trip."""
    pgconn = connection.connection.pgconn
    if pgconn.transaction_status != TransactionStatus.IDLE:
        with connection.cursor() as cursor:
            cursor.execute(sql)
        return
    with connection.wrap_database_errors:
        result = pgconn.exec_(f"BEGIN; {sql}".encode())
        if result.status != ExecStatus.TUPLES_OK:
            raise error_from_result(result)
