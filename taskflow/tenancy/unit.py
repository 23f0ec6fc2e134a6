"""Units of work: transactions that are bound to one tenant."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from functools import wraps
from types import TracebackType
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from taskflow.db.session import current_session
from taskflow.db.statements import Parameter

if TYPE_CHECKING:
    from accounts.models import Tenant

P = ParamSpec("P")
T = TypeVar("T")
log = logging.getLogger("taskflow.tenancy")

# The owner owns the tables; only the login that migrates needs to become it. Units of work run as
# the app role, and those of all tenants as the platform role, which reads rows and sets sequences.
OWNER_ROLE, APP_ROLE, PLATFORM_ROLE = "taskflow_owner", "taskflow_app", "taskflow_platform"
ALL_TENANTS = "all tenants"

_unit: ContextVar[int | str | Parameter | None] = ContextVar("tenant", default=None)


class TenantError(RuntimeError):
    """A query or write is not bound to one tenant, or concerns another. Always a bug."""


def inside(
    tenant: Tenant | int,
    *,
    read_only: bool = False,
    max_wait: float | None = None,
    one_snapshot: bool = False,
) -> AbstractContextManager[None]:
    """Open a unit of work: a transaction in which only the rows of `tenant` are visible.

    Inside a unit of work of the same tenant it does nothing. With `read_only`, SQLite does not wait
    for the write lock, and a write may then fail. Without it, SQLite waits for at most `max_wait`
    seconds, by default those of the settings. With `one_snapshot`, all its queries read the same
    commits on PostgreSQL too, and a write inside may fail. Raises OperationalError after that time,
    and TenantError inside a unit of work of another tenant.
    """
    tenant_id = tenant if isinstance(tenant, int) else tenant.pk
    if one_snapshot and _unit.get() is None:
        return _open_snapshot(tenant_id)
    return _UnitOfWork(tenant_id, read_only=read_only, max_wait=max_wait)


@contextmanager
def _open_snapshot(tenant_id: int) -> Iterator[None]:
    with (
        current_session().read_snapshots(has_deadlines=True),
        _UnitOfWork(tenant_id, read_only=True),
    ):
        yield


def across_tenants(reason: str, *, read_only: bool = False) -> AbstractContextManager[None]:
    """Open a unit of work in which the rows of all tenants can be read, as the platform role.

    On PostgreSQL this role can set sequences, too, but write no row. With `read_only`, SQLite does
    not wait for the write lock. The reason is logged, and a test lists all callers. Raises
    TenantError if the database has no roles (see docs/architecture.md): can_read_across_tenants().
    """
    log.info("across tenants", extra={"reason": reason})
    return _UnitOfWork(ALL_TENANTS, read_only=read_only)


def can_read_across_tenants(connection: BaseDatabaseWrapper) -> bool:
    """Return whether across_tenants() can be used: not as a plain login of PostgreSQL."""
    return connection.vendor != "postgresql" or has_roles(connection)


@contextmanager
def read_one_snapshot() -> Iterator[None]:
    """Open a transaction in which units of work of several tenants, one after the other, read one
    snapshot of the database. A write inside may fail.

    It may take as long as it needs, and no writer waits for it. Each unit of work is bound to its
    tenant as usual.
    """
    session = current_session()
    access = session.reserve_write_access(read_only=True, max_wait=None)
    with session.read_snapshots(), access, transaction.atomic():
        yield


def allow_early_commit() -> None:
    """Allow the current unit of work to be committed together with its last query.

    Call it when no later step can make the work fail. See Session.allow_early_commit().
    """
    current_session().allow_early_commit()


def with_tenant_parameter(make: Callable[P, T]) -> Callable[P, T]:
    """Decorator of functions that return a queryset for a Query or QueryCache.

    The tenant in the queryset is a Parameter, which gets its value from the current unit of work at
    each run. So all tenants share one compiled query.
    """

    @wraps(make)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        token = _unit.set(Parameter("tenant", source=_require_tenant_id))
        try:
            return make(*args, **kwargs)
        finally:
            _unit.reset(token)

    return wrapper


def current_unit() -> int | str | Parameter | None:
    """Return what the current unit of work is bound to: the id of a tenant, or ALL_TENANTS.

    None outside a unit of work. A Parameter while a query is compiled.
    """
    return _unit.get()


def _require_tenant_id() -> int:
    """Return the id of the current tenant. Raises TenantError outside a unit of work."""
    unit = _unit.get()
    if type(unit) is not int:  # as isinstance(), which is a call for each statement
        raise TenantError("A query was run outside a tenant: open a unit of work with `inside()`.")
    return unit


def current_tenant_id() -> int | None:
    """Return the id of the current tenant, or None outside a unit of work.

    It does not raise an error, because it is the default of a model field.
    """
    unit = _unit.get()
    return unit if isinstance(unit, int) else None


class _UnitOfWork(AbstractContextManager[None]):
    """Opens a unit of work; inside another of the same tenant it does nothing.

    A class, because nested generators would make ten times the calls at each request.
    """

    transaction: AbstractContextManager[None] | None = None  # stays None inside another one

    def __init__(self, unit: int | str, *, read_only: bool, max_wait: float | None = None) -> None:
        self.unit, self.read_only, self.max_wait = unit, read_only, max_wait

    def __enter__(self) -> None:
        outer, unit = _unit.get(), self.unit
        if outer is not None:
            if outer != unit:
                raise TenantError(f"A unit of work of {unit} was opened inside one of {outer}.")
            return
        session = self.session = current_session()
        is_postgresql = session.wrapper.vendor == "postgresql"
        settings = _transaction_settings(session.wrapper, unit) if is_postgresql else {}
        transaction = session.open_transaction(read_only=self.read_only, max_wait=self.max_wait)
        transaction.__enter__()
        session.set_transaction_settings(settings)
        self.transaction, self.token = transaction, _unit.set(unit)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.transaction is None:
            return
        _unit.reset(self.token)
        self.transaction.__exit__(kind, error, trace)
        wrapper = self.session.wrapper
        if error is None and wrapper.in_atomic_block and wrapper.vendor == "postgresql":
            # It was a savepoint of a larger transaction, in which SET LOCAL stays valid.
            self.session.set_transaction_settings(_transaction_settings(wrapper, None))


# ---- PostgreSQL: the settings of a transaction --------------------------------------------------

_has_roles_by_database: dict[str, bool] = {}  # by database name


def _transaction_settings(
    connection: BaseDatabaseWrapper, unit: int | str | None
) -> dict[str, str]:
    """Return the tenant and the role of the transaction; for None the values that reset both."""
    settings = {"taskflow.tenant": str(int(unit)) if isinstance(unit, int) else ""}
    if has_roles(connection):
        roles = {None: "none", ALL_TENANTS: PLATFORM_ROLE}
        settings["role"] = roles.get(unit, APP_ROLE)  # type: ignore[arg-type]
    elif unit == ALL_TENANTS:
        raise TenantError(
            "This database has no platform role, so no query may read several tenants."
        )
    return settings


def has_roles(connection: BaseDatabaseWrapper) -> bool:
    """Return whether the owner role owns the tables, so that units of work run as the app role.

    One query for each database, at the first call after its migration.
    """
    name = str(connection.settings_dict["NAME"])
    if name not in _has_roles_by_database:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT tableowner = %s FROM pg_tables WHERE tablename = 'django_migrations'"
                " AND schemaname = current_schema()",
                [OWNER_ROLE],
            )
            row = cursor.fetchone()
        if row is None:
            return False  # not migrated yet, so the answer is not stored
        _has_roles_by_database[name] = row[0]
    return _has_roles_by_database[name]


def clear_roles_cache(connection: BaseDatabaseWrapper) -> None:
    """Make has_roles() query the database again. Migrating may change the owner of the tables."""
    _has_roles_by_database.pop(str(connection.settings_dict["NAME"]), None)
