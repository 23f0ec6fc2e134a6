"""
The wall between tenants.

A scope is a transaction bound to one tenant: `with inside(tenant): …`. Two locks hold it.

* The application's: TenantManager answers nothing outside a scope and only the scope's rows
  inside; saving, bulk writing and deleting are guarded.
* The database's: composite foreign keys (tenant_id, x_id) on both databases; on PostgreSQL
  forced row-level security too, bound with SET LOCAL so that no connection carries it over.

The guards are Meta.constraints that every TenantModel gets by itself, so `makemigrations`
writes them and a new model cannot forget them.

>>> Task.objects.count()
TenantError: Task was queried outside a tenant: enter one with `inside(tenant)`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from django.db import connection, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models.deletion import Collector
from django.db.models.signals import class_prepared
from django.db.models.sql.where import WhereNode
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, TransactionStatus

from taskflow.documents import Param

if TYPE_CHECKING:
    from accounts.models import Tenant

log = logging.getLogger("taskflow.tenancy")

OWNER_ROLE, APP_ROLE = "taskflow_owner", "taskflow_app"
ACROSS = "across"
POLICY = "tenant_id = current_setting('taskflow.tenant')::bigint"

_M = TypeVar("_M", bound=models.Model)
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


# ---- the application's lock --------------------------------------------------------------------


def _refuse_strangers(rows: Iterable[models.Model]) -> None:
    scope = _scope.get()
    for row in rows:
        tenant_id = row.tenant_id  # type: ignore[attr-defined]
        if tenant_id is None or (scope != ACROSS and tenant_id != scope):
            raise TenantError(f"{row._meta.label} of tenant {tenant_id} written in scope {scope}")


class TenantQuerySet(models.QuerySet[_M]):
    def bulk_create(self, objs: Iterable[_M], *args: Any, **kwargs: Any) -> list[_M]:
        unique_fields = kwargs.get("unique_fields")
        if unique_fields and unique_fields[0] != "tenant":
            raise TenantError("unique_fields must lead with tenant, or an upsert crosses the wall")
        rows = list(objs)
        _refuse_strangers(rows)
        return super().bulk_create(rows, *args, **kwargs)

    def bulk_update(self, objs: Iterable[_M], *args: Any, **kwargs: Any) -> int:
        rows = tuple(objs)
        _refuse_strangers(rows)
        return super().bulk_update(rows, *args, **kwargs)

    def update(self, **values: Any) -> int:
        if values.keys() & {"tenant", "tenant_id"}:
            raise TenantError("a row cannot move to another tenant")
        return super().update(**values)

    def delete(self) -> tuple[int, dict[str, int]]:
        """Delete the rows; what hangs on them goes by the database's ON DELETE CASCADE.

        Django's own path deletes by primary key alone, which on SQLite reaches every tenant.
        Raises ProtectedError like it.
        """
        rows = list(self)
        Collector(using=self.db, origin=self).collect(rows)
        doomed = self.model._base_manager.using(self.db).filter(pk__in=[row.pk for row in rows])
        count = doomed._raw_delete(self.db) or 0
        return count, {self.model._meta.label: count}


class TenantManager(models.Manager[_M]):
    """The default and base manager of every TenantModel."""

    _queryset_class = TenantQuerySet

    def get_queryset(self) -> models.QuerySet[_M]:
        scope = _scope.get()
        if scope is None:
            name = self.model.__name__
            raise TenantError(f"{name} was queried outside a tenant: enter one with `inside()`.")
        rows = super().get_queryset()
        return rows if scope == ACROSS else rows.filter(tenant_id=scope)


class TenantModel(models.Model):
    """A table whose every row belongs to one tenant. Give foreign keys as TenantFK.

    `unrecorded` fields never reach the event log. `derived` ones follow from others, and nobody
    sets them. `noted` columns are up to date on the rows that note_changes() is shown.
    `project_field` names the column that holds the id of the project a row belongs to, for the log.
    """

    unrecorded: ClassVar[frozenset[str]] = frozenset()
    derived: ClassVar[frozenset[str]] = frozenset()
    noted: ClassVar[frozenset[str]] = frozenset()
    project_field: ClassVar[str | None] = None

    tenant = models.ForeignKey(
        "accounts.Tenant",
        models.PROTECT,
        related_name="+",
        default=current_tenant_id,
        editable=False,
        db_index=False,
    )
    objects = TenantManager()

    if TYPE_CHECKING:
        version: Any  # of whatever passes the write door

    class Meta:
        abstract = True
        base_manager_name = "objects"  # foreign keys, refresh_from_db and save are scoped too

    @classmethod
    def note_changes(cls, changes: Iterable[tuple[Any, dict[str, list[Any]]]]) -> None:
        """Keep what follows from rows of this model. The write door calls it with every change, as
        recorded, in its transaction.
        """

    def save_base(self, *args: Any, **kwargs: Any) -> None:
        _refuse_strangers([self])
        super().save_base(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """See TenantQuerySet.delete()."""
        _refuse_strangers([self])
        return type(self)._base_manager.filter(pk=self.pk).delete()


class TenantFK(models.ForeignKey):  # type: ignore[type-arg]
    """A foreign key that cannot leave its tenant: (tenant_id, x_id) → (tenant_id, id)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["db_constraint"] = False  # CompositeFK stands in its place
        kwargs.setdefault("db_index", False)  # indexes lead with the tenant, in Meta
        super().__init__(*args, **kwargs)

    def contribute_to_related_class(self, cls: Any, related: Any) -> None:
        super().contribute_to_related_class(cls, related)
        if self.model.__module__ != "__fake__":  # migrations state their constraints themselves
            name = f"{cls._meta.db_table}_tenant_id_key"
            _add_constraint(cls, TenantKey(fields=["tenant", "id"], name=name))

    def get_extra_restriction(self, alias: str | None, related_alias: str | None) -> Any:
        """Say a.tenant_id = b.tenant_id in every join."""
        if not (alias and related_alias):
            return None  # Query.trim_start() of a negated multi-valued filter
        here = _tenant_column(self.model, related_alias)
        there = _tenant_column(self.related_model, alias)
        return WhereNode([models.lookups.Exact(here, there)])  # type: ignore[list-item]


def _tenant_column(model: Any, alias: str) -> Any:
    return model._meta.get_field("tenant").get_col(alias)


# ---- the database's lock, as constraints --------------------------------------------------------


class _Guard(models.constraints.BaseConstraint):
    """Something the database enforces and a form need not check."""

    def validate(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Guard) and self.deconstruct() == other.deconstruct()

    def __hash__(self) -> int:
        return hash(self.name)


class TenantKey(models.UniqueConstraint):
    """(tenant_id, id): what composite foreign keys point at."""

    def remove_sql(self, model: Any, schema_editor: BaseDatabaseSchemaEditor | None) -> Any:
        assert schema_editor
        if schema_editor.connection.vendor != "postgresql":
            return super().remove_sql(model, schema_editor)
        # Migrating backwards meets the key before the foreign keys that lean on it.
        table, name = (schema_editor.quote_name(n) for n in (model._meta.db_table, self.name))
        return f"ALTER TABLE {table} DROP CONSTRAINT {name} CASCADE"


class CompositeFK(_Guard):
    """FOREIGN KEY (tenant_id, column) with the ON DELETE that the field has in Python."""

    def __init__(self, *, name: str, field: str) -> None:
        super().__init__(name=name)
        self.field = field

    def deconstruct(self) -> Any:
        path, args, kwargs = super().deconstruct()
        return path, args, {**kwargs, "field": self.field}

    def constraint_sql(self, model: Any, schema_editor: BaseDatabaseSchemaEditor | None) -> Any:
        assert schema_editor
        if schema_editor.connection.vendor == "postgresql":
            return self.create_sql(model, schema_editor)
        return (
            f"CONSTRAINT {schema_editor.quote_name(self.name)} {self._clause(model, schema_editor)}"
        )

    def create_sql(self, model: Any, schema_editor: BaseDatabaseSchemaEditor | None) -> Any:
        assert schema_editor
        if schema_editor.connection.vendor == "sqlite":
            return schema_editor._remake_table(model)  # type: ignore[attr-defined]
        table, name = (schema_editor.quote_name(n) for n in (model._meta.db_table, self.name))
        schema_editor.deferred_sql.append(  # the target's unique key may not exist yet
            f"ALTER TABLE {table} ADD CONSTRAINT {name} {self._clause(model, schema_editor)}"
        )
        return None

    def remove_sql(self, model: Any, schema_editor: BaseDatabaseSchemaEditor | None) -> Any:
        assert schema_editor
        if schema_editor.connection.vendor == "sqlite":
            return schema_editor._remake_table(model)  # type: ignore[attr-defined]
        table, name = (schema_editor.quote_name(n) for n in (model._meta.db_table, self.name))
        return f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}"

    def _clause(self, model: Any, schema_editor: BaseDatabaseSchemaEditor) -> str:
        field = model._meta.get_field(self.field)
        column = schema_editor.quote_name(field.column)
        target = schema_editor.quote_name(field.related_model._meta.db_table)
        is_sqlite = schema_editor.connection.vendor == "sqlite"
        on_delete = {
            models.CASCADE: "ON DELETE CASCADE",
            # SQLite would set tenant_id to null as well; there Django's own update has to do.
            models.SET_NULL: "" if is_sqlite else f"ON DELETE SET NULL ({column})",
        }.get(field.remote_field.on_delete, "")
        # Deferred on SQLite, where flushing and remaking tables rely on it.
        when = "DEFERRABLE INITIALLY DEFERRED" if is_sqlite else ""
        return (
            f"FOREIGN KEY (tenant_id, {column}) REFERENCES {target} (tenant_id, id)"
            f" {on_delete} {when}"
        )


class RowSecurity(_Guard):
    """On PostgreSQL the table shows and takes only the bound tenant's rows, its owner included."""

    def constraint_sql(self, model: Any, schema_editor: BaseDatabaseSchemaEditor | None) -> Any:
        return self.create_sql(model, schema_editor)

    def create_sql(self, model: Any, schema_editor: BaseDatabaseSchemaEditor | None) -> Any:
        assert schema_editor
        if schema_editor.connection.vendor != "postgresql":
            return None
        table = schema_editor.quote_name(model._meta.db_table)
        sql = (
            f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;"
            f" CREATE POLICY tenant_rows ON {table} USING ({POLICY});"
        )
        if has_roles(schema_editor.connection):
            sql += f" CREATE POLICY owner_rows ON {table} TO {OWNER_ROLE} USING (true);"
        schema_editor.deferred_sql.append(sql)
        return None

    def remove_sql(self, model: Any, schema_editor: BaseDatabaseSchemaEditor | None) -> Any:
        assert schema_editor
        if schema_editor.connection.vendor != "postgresql":
            return None
        table = schema_editor.quote_name(model._meta.db_table)
        return (
            f"DROP POLICY tenant_rows ON {table}; DROP POLICY IF EXISTS owner_rows ON {table};"
            f" ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY"
        )


def _add_constraint(
    model: type[models.Model], constraint: models.constraints.BaseConstraint
) -> None:
    options = model._meta
    if all(constraint.name != known.name for known in options.constraints):
        options.constraints = [*options.constraints, constraint]
        options.original_attrs["constraints"] = options.constraints  # what makemigrations reads


def _add_guards(sender: type[models.Model], **kwargs: Any) -> None:
    if not is_tenant_model(sender):
        return
    table = sender._meta.db_table
    for field in sender._meta.local_fields:
        if isinstance(field, TenantFK):
            if not field.null:  # its key leads to the tenant; asking again costs every insert
                sender._meta.get_field("tenant").db_constraint = False  # type: ignore[union-attr]
            name = f"{table}_{field.column}_tenant_fk"
            _add_constraint(sender, CompositeFK(name=name, field=field.name))
    _add_constraint(sender, RowSecurity(name=f"{table}_rls"))


def is_tenant_model(model: Any) -> bool:
    return (
        isinstance(model, type)
        and issubclass(model, TenantModel)
        and not model._meta.abstract
        and not model._meta.proxy
    )


class_prepared.connect(_add_guards)
