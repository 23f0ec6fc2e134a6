"""Scopes: transactions bound to one tenant."""

from __future__ import annotations

import logging
import select
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from django.db import DEFAULT_DB_ALIAS, OperationalError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.pq import ExecStatus, TransactionStatus

from taskflow.db import pipeline
from taskflow.db.query import Query
from taskflow.db.statements import Parameter

if TYPE_CHECKING:
    from accounts.models import Tenant

P = ParamSpec("P")
T = TypeVar("T")
log = logging.getLogger("taskflow.tenancy")

OWNER_ROLE, APP_ROLE = "taskflow_owner", "taskflow_app"
ACROSS = "across"

_scope: ContextVar[int | str | Parameter | None] = ContextVar("tenant", default=None)
# SQLite has one writer; waiting here is fair, its busy timeout is not.
_sqlite_writer = threading.RLock()
SHORT_WAIT = 0.05  # seconds: for less, SQLite's own time-out is left as it is


class TenantError(RuntimeError):
    """Rows were reached outside a tenant, or across tenants. Always a bug, never an answer."""


def inside(
    tenant: Tenant | int, *, reading: bool = False, patience: float | None = None
) -> AbstractContextManager[None]:
    """Open a transaction in which only `tenant` exists. Nested in itself it does nothing.

    With `reading`, SQLite does not queue for the write lock; writing may then fail. Otherwise it
    waits for `patience` seconds, by default those of the settings, and raises OperationalError.
    Raises TenantError inside the scope of another tenant.
    """
    tenant_id = tenant if isinstance(tenant, int) else tenant.pk
    return _enter(tenant_id, reading=reading, patience=patience)


def asking(
    tenant_id: int, question: Query, values: Mapping[str, Any], *, reading: bool = False
) -> AbstractContextManager[list[Any]]:
    """inside(), with the rows that answer a question: on PostgreSQL both in one round trip."""
    return _enter(tenant_id, reading=reading, first=(question, values))


def across_tenants(reason: str) -> AbstractContextManager[None]:
    """Lift the wall, as the owner role. Logged; test_wall.py lists who may.

    Raises TenantError where the database gave us no owner role (see docs/architecture.md).
    """
    log.warning("across tenants", extra={"reason": reason})
    return _enter(ACROSS, reading=False)


def allow_early_commit() -> None:
    """Let PostgreSQL end the open scope's transaction with the last question, in one message.

    For where nothing that follows it can refuse what was done.
    """
    connection = connections[DEFAULT_DB_ALIAS]
    if connection.vendor == "postgresql" and not connection.savepoint_ids:
        pipeline.may_end(connection, b"BEGIN; " + _binding(connection, current_tenant_id()))


def with_tenant_parameter(make: Callable[P, T]) -> Callable[P, T]:
    """The querysets that `make` makes have a hole in place of the scope's tenant, so that all
    tenants share what is compiled.
    """

    @wraps(make)
    def made(*args: P.args, **kwargs: P.kwargs) -> T:
        token = _scope.set(Parameter("tenant", fill=_the_tenant_id))
        try:
            return make(*args, **kwargs)
        finally:
            _scope.reset(token)

    return made


def current_unit() -> int | str | Parameter | None:
    """What is open here: a tenant's id, ACROSS, a hole for Query, or nothing."""
    return _scope.get()


def _the_tenant_id() -> int:
    """For what is compiled. Raises TenantError where no tenant is open."""
    scope = _scope.get()
    if not isinstance(scope, int):
        raise TenantError("Rows were reached outside a tenant: enter one with `inside()`.")
    return scope


def current_tenant_id() -> int | None:
    """The scope's tenant, or None outside one. A field default, so it must not raise."""
    scope = _scope.get()
    return scope if isinstance(scope, int) else None


@contextmanager
def _enter(
    scope: int | str,
    *,
    reading: bool,
    first: tuple[Query, Any] | None = None,
    patience: float | None = None,
) -> Iterator[Any]:
    outer = _scope.get()
    if outer is not None:
        if outer != scope:
            raise TenantError(f"scope {scope} was opened inside scope {outer}")
        yield first and first[0].objects(first[1])
        return
    connection = connections[DEFAULT_DB_ALIAS]
    is_sqlite = connection.vendor == "sqlite"
    is_outermost = not connection.in_atomic_block
    if not is_sqlite:
        _trust_the_quiet(connection)
    turn = _sqlite_turn(connection, reading, patience) if is_sqlite else nullcontext()
    with turn, transaction.atomic():
        token = _scope.set(scope)
        try:
            found = None if is_sqlite else _bind(connection, scope, first)
            yield first[0].objects(first[1]) if first and found is None else found
            if not (is_sqlite or connection.needs_rollback):
                pipeline.finish(connection, commit=is_outermost)
        finally:
            if not is_sqlite:
                pipeline.forget(connection)
            _scope.reset(token)
    if connection.in_atomic_block and not is_sqlite:
        # Inside a larger transaction SET LOCAL outlives our savepoint.
        _bind(connection, None)


def _trust_the_quiet(connection: BaseDatabaseWrapper) -> None:
    """Spare Django's health check, a round trip, for a connection that has nothing to say: one that
    the server has closed can be read from.
    """
    if connection.connection is None:
        return
    listener = select.poll()
    listener.register(connection.connection.fileno(), select.POLLIN)
    if not listener.poll(0):
        connection.health_check_done = True  # type: ignore[attr-defined]


# ---- SQLite: waiting for the write lock ---------------------------------------------------------


def _sqlite_turn(
    sqlite: Any, reading: bool, patience: float | None
) -> AbstractContextManager[None]:
    """What surrounds a transaction: readers wait for nobody, writers for each other."""
    if sqlite.in_atomic_block:
        return nullcontext()
    sqlite.ensure_connection()  # which is when it learns its usual mode
    if reading:
        return _deferred(sqlite)
    usual = float(sqlite.settings_dict["OPTIONS"]["timeout"])
    return _writer_turn(sqlite, usual if patience is None else patience, usual)


@contextmanager
def _deferred(sqlite: Any) -> Iterator[None]:
    mode = sqlite.transaction_mode
    sqlite.transaction_mode = "DEFERRED"
    try:
        yield
    finally:
        sqlite.transaction_mode = mode


@contextmanager
def _writer_turn(sqlite: Any, patience: float, usual: float) -> Iterator[None]:
    """Wait for the other threads of this process, then at BEGIN for other processes: together for
    at most `patience` seconds.

    Raises OperationalError, as SQLite does for the second.
    """
    deadline = time.monotonic() + patience
    if not _sqlite_writer.acquire(timeout=patience):
        raise OperationalError(f"database is locked: other writers took {patience:g} seconds")
    try:
        left = max(0.0, deadline - time.monotonic())
        is_shorter = left < usual - SHORT_WAIT
        if is_shorter:
            _wait_at_most(sqlite, left)
        try:
            yield
        finally:
            if is_shorter:
                _wait_at_most(sqlite, usual)
    finally:
        _sqlite_writer.release()


def _wait_at_most(sqlite: Any, seconds: float) -> None:
    if sqlite.connection is not None:
        sqlite.connection.execute(f"PRAGMA busy_timeout = {round(seconds * 1000)}")


# ---- PostgreSQL: binding the transaction ------------------------------------------------------

_roles_in_use: dict[str, bool] = {}  # by database name


def _bind(
    connection: BaseDatabaseWrapper,
    scope: int | str | None,
    first: tuple[Query, Any] | None = None,
) -> list[Any] | None:
    """The answer to the first question, where it could be asked at once."""
    question = first and first[0].as_execute(first[1])
    result = _send(connection, _binding(connection, scope), question)
    return first[0].objects_of(result) if first and result else None


def _binding(connection: BaseDatabaseWrapper, scope: int | str | None) -> bytes:
    tenant = str(int(scope)) if isinstance(scope, int) else ""
    settings = f"set_config('taskflow.tenant', '{tenant}', true)"
    if has_roles(connection):
        role = {None: "none", ACROSS: OWNER_ROLE}.get(scope, APP_ROLE)  # type: ignore[arg-type]
        settings += f", set_config('role', '{role}', true)"
    elif scope == ACROSS:
        raise TenantError("This database has no owner role: no query may cross tenants.")
    return f"SELECT {settings}".encode()


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


def _send(connection: BaseDatabaseWrapper, sql: bytes, question: bytes | None) -> Any:
    """Send `sql` in one message with the BEGIN, when psycopg still owes it, and with the question,
    whose result is returned.
    """
    pgconn = connection.connection.pgconn
    if pgconn.transaction_status != TransactionStatus.IDLE:
        with connection.cursor() as cursor:
            cursor.execute(sql.decode())
        return None
    with connection.wrap_database_errors:
        result = pgconn.exec_(b"; ".join([b"BEGIN", sql, *([question] if question else [])]))
        if result.status != ExecStatus.TUPLES_OK:
            raise pipeline.refusal(connection.connection, result)
    return result if question else None
