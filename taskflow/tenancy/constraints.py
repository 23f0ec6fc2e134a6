"""The database's lock, as constraints that `makemigrations` writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from taskflow.tenancy.unit import OWNER_ROLE, has_roles

POLICY = "tenant_id = current_setting('taskflow.tenant')::bigint"


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


class _PostgresGuard(_Guard):
    """What only PostgreSQL has: SQL for when the table is there, and to take it back."""

    def constraint_sql(self, model: Any, schema_editor: BaseDatabaseSchemaEditor | None) -> Any:
        return self.create_sql(model, schema_editor)

    def create_sql(self, model: Any, schema_editor: BaseDatabaseSchemaEditor | None) -> Any:
        assert schema_editor
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.deferred_sql.append(self._creation(model, schema_editor))

    def remove_sql(self, model: Any, schema_editor: BaseDatabaseSchemaEditor | None) -> Any:
        assert schema_editor
        if schema_editor.connection.vendor != "postgresql":
            return None
        return self._removal(model, schema_editor)

    def _creation(self, model: Any, schema_editor: BaseDatabaseSchemaEditor) -> str:
        raise NotImplementedError

    def _removal(self, model: Any, schema_editor: BaseDatabaseSchemaEditor) -> str:
        raise NotImplementedError


class RowSecurity(_PostgresGuard):
    """On PostgreSQL the table shows and takes only the bound tenant's rows, its owner included."""

    def _creation(self, model: Any, schema_editor: BaseDatabaseSchemaEditor) -> str:
        table = schema_editor.quote_name(model._meta.db_table)
        sql = (
            f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;"
            f" CREATE POLICY tenant_rows ON {table} USING ({POLICY});"
        )
        if has_roles(schema_editor.connection):
            sql += f" CREATE POLICY owner_rows ON {table} TO {OWNER_ROLE} USING (true);"
        return sql

    def _removal(self, model: Any, schema_editor: BaseDatabaseSchemaEditor) -> str:
        table = schema_editor.quote_name(model._meta.db_table)
        return (
            f"DROP POLICY tenant_rows ON {table}; DROP POLICY IF EXISTS owner_rows ON {table};"
            f" ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY"
        )


class TenantStatistics(_PostgresGuard):
    """Tells PostgreSQL's planner that these columns know their tenant.

    Without it it takes a project's rows of one tenant for a hundredth of the project's, where there
    are a hundred tenants, and collects and sorts what an index has in order.
    """

    def __init__(self, *, name: str, fields: Sequence[str]) -> None:
        super().__init__(name=name)
        self.fields = tuple(fields)

    def deconstruct(self) -> Any:
        path, args, kwargs = super().deconstruct()
        return path, args, {**kwargs, "fields": self.fields}

    def _creation(self, model: Any, schema_editor: BaseDatabaseSchemaEditor) -> str:
        quote = schema_editor.quote_name
        columns = ", ".join(quote(model._meta.get_field(name).column) for name in self.fields)
        return (
            f"CREATE STATISTICS {quote(self.name)} (dependencies) ON tenant_id, {columns}"
            f" FROM {quote(model._meta.db_table)}"
        )

    def _removal(self, model: Any, schema_editor: BaseDatabaseSchemaEditor) -> str:
        return f"DROP STATISTICS IF EXISTS {schema_editor.quote_name(self.name)}"


def add_constraint(
    model: type[models.Model], constraint: models.constraints.BaseConstraint
) -> None:
    options = model._meta
    if all(constraint.name != known.name for known in options.constraints):
        options.constraints = [*options.constraints, constraint]
        options.original_attrs["constraints"] = options.constraints  # what makemigrations reads
