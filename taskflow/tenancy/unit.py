"""Units of work: transactions that are bound to one tenant."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from taskflow.db.session import current_session
from taskflow.db.statements import Parameter

if TYPE_CHECKING:
    from accounts.models import Tenant

P = ParamSpec("P")
T = TypeVar("T")
log = logging.getLogger("taskflow.tenancy")

OWNER_ROLE, APP_ROLE = "taskflow_owner", "taskflow_app"
ACROSS = "across"

_unit: ContextVar[int | str | Parameter | None] = ContextVar("tenant", default=None)


class TenantError(RuntimeError):
    """Rows were reached outside a tenant, or across tenants. This is always a bug in TaskFlow."""


def inside(
    tenant: Tenant | int, *, read_only: bool = False, max_wait: float | None = None
) -> AbstractContextManager[None]:
    """Open a unit of work: a transaction in which only the rows of `tenant` exist.

    Inside a unit of work of the same tenant it does nothing. With `read_only`, SQLite does not wait
    for the write lock, and writing may then fail. Without it, SQLite waits for at most `max_wait`
    seconds, by default those of the settings. Raises OperationalError after that time, and
    TenantError inside a unit of work of another tenant.
    """
    tenant_id = tenant if isinstance(tenant, int) else tenant.pk
    return _enter(tenant_id, read_only=read_only, max_wait=max_wait)


def across_tenants(reason: str) -> AbstractContextManager[None]:
    """Open a unit of work in which the rows of all tenants exist, by the owner role.

    It is logged with its reason, and a test lists the callers. Raises TenantError where the
    database has no owner role (see docs/architecture.md).
    """
    log.warning("across tenants", extra={"reason": reason})
    return _enter(ACROSS, read_only=False)


def allow_early_commit() -> None:
    """Let the COMMIT of the current unit of work go along with its last query.

    Call it where nothing can refuse the work afterwards. See Session.allow_early_commit().
    """
    current_session().allow_early_commit()


def with_tenant_parameter(make: Callable[P, T]) -> Callable[P, T]:
    """A decorator for functions that make querysets to be compiled. In these, the tenant is a
    parameter whose value is that of the current unit of work, so that all tenants share one query.
    """

    @wraps(make)
    def made(*args: P.args, **kwargs: P.kwargs) -> T:
        token = _unit.set(Parameter("tenant", source=_the_tenant_id))
        try:
            return make(*args, **kwargs)
        finally:
            _unit.reset(token)

    return made


def current_unit() -> int | str | Parameter | None:
    """Return the tenant's id, ACROSS, or None outside a unit of work; a Parameter while a query is
    compiled.
    """
    return _unit.get()


def _the_tenant_id() -> int:
    """Return the value of the parameter. Raises TenantError outside a unit of work."""
    unit = _unit.get()
    if not isinstance(unit, int):
        raise TenantError("Rows were reached outside a tenant: enter one with `inside()`.")
    return unit


def current_tenant_id() -> int | None:
    """Return the tenant of the unit of work, or None outside one. It is the default of a field, so
    it must not raise.
    """
    unit = _unit.get()
    return unit if isinstance(unit, int) else None


@contextmanager
def _enter(unit: int | str, *, read_only: bool, max_wait: float | None = None) -> Iterator[None]:
    outer = _unit.get()
    if outer is not None:
        if outer != unit:
            raise TenantError(f"a unit of work of {unit} was opened inside one of {outer}")
        yield
        return
    session, wrapper = current_session(), connections[DEFAULT_DB_ALIAS]
    with session.reserve_write_access(read_only=read_only, max_wait=max_wait), transaction.atomic():
        token = _unit.set(unit)
        try:
            if wrapper.vendor == "postgresql":
                session.set_transaction_settings(_settings_of(wrapper, unit))
            yield
        finally:
            _unit.reset(token)
    if wrapper.in_atomic_block and wrapper.vendor == "postgresql":
        # Inside a larger transaction SET LOCAL outlives our savepoint.
        session.set_transaction_settings(_settings_of(wrapper, None))


# ---- PostgreSQL: the settings of a transaction --------------------------------------------------

_roles_in_use: dict[str, bool] = {}  # by database name


def _settings_of(connection: BaseDatabaseWrapper, unit: int | str | None) -> bytes:
    tenant = str(int(unit)) if isinstance(unit, int) else ""
    settings = f"set_config('taskflow.tenant', '{tenant}', true)"
    if has_roles(connection):
        role = {None: "none", ACROSS: OWNER_ROLE}.get(unit, APP_ROLE)  # type: ignore[arg-type]
        settings += f", set_config('role', '{role}', true)"
    elif unit == ACROSS:
        raise TenantError("This database has no owner role: no query may cross tenants.")
    return f"SELECT {settings}".encode()


def has_roles(connection: BaseDatabaseWrapper) -> bool:
    """Whether the tables belong to the owner role, so that units of work run as the app role."""
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
            return False  # not migrated yet: look again next time
        _roles_in_use[name] = row[0]
    return _roles_in_use[name]


def clear_roles_cache(connection: BaseDatabaseWrapper) -> None:
    """Look again who owns the tables: migrating may have changed it."""
    _roles_in_use.pop(str(connection.settings_dict["NAME"]), None)
