"""Constraints by which the database isolates tenants, in a form that `makemigrations` writes.

Each is a Meta.constraint of a TenantModel. taskflow/tenancy/models.py adds them to every model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from taskflow.tenancy.unit import OWNER_ROLE, PLATFORM_ROLE, has_roles

POLICY = "tenant_id = current_setting('taskflow.tenant')::bigint"
NO_SQL = ""  # not None, which Django would execute as text when a column of the table has a default


class _DatabaseConstraint(models.constraints.BaseConstraint):
    """A constraint that only the database checks. Forms and full_clean() ignore it.

    Its methods return None where Django has no statement to execute. The stubs allow only texts.
    """

    def validate(self, *args: object, **kwargs: object) -> None:
        pass

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _DatabaseConstraint) and self.deconstruct() == other.deconstruct()

    def __hash__(self) -> int:
        return hash(self.name)


class TenantUniqueId(_DatabaseConstraint):
    """UNIQUE (tenant_id, id) on SQLite, in tables that composite foreign keys reference.

    On PostgreSQL they reference the primary key, see TenantPrimaryKey.
    """

    def constraint_sql(self, model: Any, schema_editor: BaseDatabaseSchemaEditor | None) -> Any:
        assert schema_editor
        if schema_editor.connection.vendor != "sqlite":
            return None
        return f"CONSTRAINT {schema_editor.quote_name(self.name)} UNIQUE (tenant_id, id)"

    def create_sql(self, model: Any, schema_editor: BaseDatabaseSchemaEditor | None) -> Any:
        assert schema_editor
        if schema_editor.connection.vendor == "sqlite":
            return _remake_sqlite_table(model, schema_editor)
        return NO_SQL

    def remove_sql(self, model: Any, schema_editor: BaseDatabaseSchemaEditor | None) -> Any:
        return self.create_sql(model, schema_editor)


class CompositeFK(_DatabaseConstraint):
    """FOREIGN KEY (tenant_id, column) with the ON DELETE that the field has in Python."""

    def __init__(self, *, name: str, field: str) -> None:
        super().__init__(name=name)
        self.field = field

    def deconstruct(self) -> tuple[str, Sequence[Any], dict[str, Any]]:
        path, args, kwargs = super().deconstruct()
        return path, args, {**kwargs, "field": self.field}

    def constraint_sql(self, model: Any, schema_editor: BaseDatabaseSchemaEditor | None) -> Any:
        assert schema_editor
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.deferred_sql.append(self.create_sql(model, schema_editor))
            return None
        name = schema_editor.quote_name(self.name)
        return f"CONSTRAINT {name} {self._foreign_key_sql(model, schema_editor)}"

    def create_sql(self, model: Any, schema_editor: BaseDatabaseSchemaEditor | None) -> Any:
        assert schema_editor
        if schema_editor.connection.vendor == "sqlite":
            return _remake_sqlite_table(model, schema_editor)
        table, name = (schema_editor.quote_name(n) for n in (model._meta.db_table, self.name))
        clause = self._foreign_key_sql(model, schema_editor)
        return f"ALTER TABLE {table} ADD CONSTRAINT {name} {clause}"

    def remove_sql(self, model: Any, schema_editor: BaseDatabaseSchemaEditor | None) -> Any:
        assert schema_editor
        if schema_editor.connection.vendor == "sqlite":
            return _remake_sqlite_table(model, schema_editor)
        table, name = (schema_editor.quote_name(n) for n in (model._meta.db_table, self.name))
        return f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}"

    def _foreign_key_sql(self, model: Any, schema_editor: BaseDatabaseSchemaEditor) -> str:
        field = model._meta.get_field(self.field)
        column = schema_editor.quote_name(field.column)
        target = schema_editor.quote_name(field.related_model._meta.db_table)
        is_sqlite = schema_editor.connection.vendor == "sqlite"
        on_delete = {
            models.CASCADE: "ON DELETE CASCADE",
            # SQLite cannot name the column and would set tenant_id to null too. There the update
            # that Django sends before the DELETE has to be enough.
            models.SET_NULL: "" if is_sqlite else f"ON DELETE SET NULL ({column})",
        }.get(field.remote_field.on_delete, "")
        # Deferred on SQLite, because Django flushes and copies tables there in any order.
        timing = "DEFERRABLE INITIALLY DEFERRED" if is_sqlite else ""
        return (
            f"FOREIGN KEY (tenant_id, {column}) REFERENCES {target} (tenant_id, id)"
            f" {on_delete} {timing}"
        )


def _remake_sqlite_table(model: type[models.Model], schema_editor: Any) -> None:
    """Add or remove constraints on SQLite, which requires copying the table."""
    schema_editor._remake_table(model)


class _PostgresConstraint(_DatabaseConstraint):
    """A constraint that only PostgreSQL has.

    Subclasses return the SQL that adds it to an existing table, and the SQL that removes it.
    """

    def constraint_sql(self, model: Any, schema_editor: BaseDatabaseSchemaEditor | None) -> Any:
        """Defer the SQL until the table exists: it cannot be a part of CREATE TABLE."""
        assert schema_editor
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.deferred_sql.append(self.create_sql(model, schema_editor))

    def create_sql(self, model: Any, schema_editor: BaseDatabaseSchemaEditor | None) -> Any:
        assert schema_editor
        if schema_editor.connection.vendor != "postgresql":
            return NO_SQL
        return self._create_postgres_sql(model, schema_editor)

    def remove_sql(self, model: Any, schema_editor: BaseDatabaseSchemaEditor | None) -> Any:
        assert schema_editor
        if schema_editor.connection.vendor != "postgresql":
            return None
        return self._remove_postgres_sql(model, schema_editor)

    def _create_postgres_sql(
        self, model: type[models.Model], schema_editor: BaseDatabaseSchemaEditor
    ) -> str:
        raise NotImplementedError

    def _remove_postgres_sql(
        self, model: type[models.Model], schema_editor: BaseDatabaseSchemaEditor
    ) -> str:
        raise NotImplementedError


class TenantPrimaryKey(_PostgresConstraint):
    """PRIMARY KEY (tenant_id, id) on PostgreSQL, in place of Django's PRIMARY KEY (id).

    Rows of one tenant are then next to each other in the index, and a table can be distributed by
    tenant over several servers. For Django, and on SQLite, `id` alone stays the primary key: one
    sequence per table numbers the rows of all tenants.
    """

    def _create_postgres_sql(
        self, model: type[models.Model], schema_editor: BaseDatabaseSchemaEditor
    ) -> str:
        return self._replace_key_sql(model, schema_editor, "tenant_id, id")

    def _remove_postgres_sql(
        self, model: type[models.Model], schema_editor: BaseDatabaseSchemaEditor
    ) -> str:
        # CASCADE, because migrating backwards removes the key before the foreign keys to it.
        return self._replace_key_sql(model, schema_editor, "id", drop="CASCADE")

    def _replace_key_sql(
        self,
        model: type[models.Model],
        schema_editor: BaseDatabaseSchemaEditor,
        columns: str,
        drop: str = "",
    ) -> str:
        quote, table = schema_editor.quote_name, model._meta.db_table
        key = quote(f"{table}_pkey")  # PostgreSQL's name for Django's key
        return (
            f"ALTER TABLE {quote(table)} DROP CONSTRAINT {key} {drop},"
            f" ADD CONSTRAINT {key} PRIMARY KEY ({columns})"
        )


class RowSecurity(_PostgresConstraint):
    """Row-level security: only rows of the transaction's tenant can be read or written.

    This applies to the owner of the table, too.
    """

    def _create_postgres_sql(
        self, model: type[models.Model], schema_editor: BaseDatabaseSchemaEditor
    ) -> str:
        table = schema_editor.quote_name(model._meta.db_table)
        sql = (
            f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;"
            f" CREATE POLICY tenant_rows ON {table} USING ({POLICY});"
        )
        if has_roles(schema_editor.connection):
            sql += f" CREATE POLICY owner_rows ON {table} TO {OWNER_ROLE} USING (true);"
            sql += platform_policy_sql(table)
        return sql

    def _remove_postgres_sql(
        self, model: type[models.Model], schema_editor: BaseDatabaseSchemaEditor
    ) -> str:
        table = schema_editor.quote_name(model._meta.db_table)
        return (
            f"DROP POLICY tenant_rows ON {table}; DROP POLICY IF EXISTS owner_rows ON {table};"
            f" DROP POLICY IF EXISTS platform_rows ON {table};"
            f" ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY"
        )


def platform_policy_sql(table: str) -> str:
    """Return the SQL by which the platform role may read all rows of the table, which is quoted."""
    return f" CREATE POLICY platform_rows ON {table} FOR SELECT TO {PLATFORM_ROLE} USING (true);"


class TenantStatistics(_PostgresConstraint):
    """Statistics which show PostgreSQL's planner that each value of these columns belongs to one
    tenant.

    Without them the planner multiplies the two conditions: with a hundred tenants it expects a
    hundredth of a project's rows, and sorts rows that an index has in order.
    """

    def __init__(self, *, name: str, fields: Sequence[str]) -> None:
        super().__init__(name=name)
        self.fields = tuple(fields)

    def deconstruct(self) -> tuple[str, Sequence[Any], dict[str, Any]]:
        path, args, kwargs = super().deconstruct()
        return path, args, {**kwargs, "fields": self.fields}

    def _create_postgres_sql(self, model: Any, schema_editor: BaseDatabaseSchemaEditor) -> str:
        quote = schema_editor.quote_name
        columns = ", ".join(quote(model._meta.get_field(name).column) for name in self.fields)
        return (
            f"CREATE STATISTICS {quote(self.name)} (dependencies) ON tenant_id, {columns}"
            f" FROM {quote(model._meta.db_table)}"
        )

    def _remove_postgres_sql(
        self, model: type[models.Model], schema_editor: BaseDatabaseSchemaEditor
    ) -> str:
        return f"DROP STATISTICS IF EXISTS {schema_editor.quote_name(self.name)}"


def add_constraint(
    model: type[models.Model], constraint: models.constraints.BaseConstraint
) -> None:
    """Add the constraint to the model's Meta, unless the model has one with this name."""
    options = model._meta
    if all(constraint.name != existing.name for existing in options.constraints):
        options.constraints = [*options.constraints, constraint]
        options.original_attrs["constraints"] = options.constraints  # what makemigrations reads
