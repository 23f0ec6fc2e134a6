"""Django's schema editor for SQLite, which keeps the triggers of a table that it copies."""

from __future__ import annotations

from typing import Any

from django.db.backends.sqlite3.schema import DatabaseSchemaEditor
from django.db.models import Model

TRIGGERS = "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = %s"


class SchemaEditor(DatabaseSchemaEditor):
    def add_field(self, model: type[Model], field: Any) -> None:
        """Add a column. For a stored generated one the table is copied.

        SQLite adds such a column only to an empty table, and Django does not know that.
        """
        if field.generated and field.db_persist:
            self._remake_table(model, create_field=field)
        else:
            super().add_field(model, field)

    def _remake_table(self, model: type[Model], **changes: Any) -> None:
        """Copy the table into a new one, as SQLite cannot change most things of a table.

        Dropping the old table drops its triggers, which keep the full-text index up to date. They
        are created again. Fails if one names a column that no longer exists.
        """
        with self.connection.cursor() as cursor:
            cursor.execute(TRIGGERS, [model._meta.db_table])
            triggers = [sql for (sql,) in cursor.fetchall()]
        super()._remake_table(model, **changes)  # type: ignore[misc]  # the stubs leave it out
        for sql in triggers:
            self.execute(sql, params=None)
