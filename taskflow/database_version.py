"""Checks whether this version of TaskFlow can serve a database.

Migrations are frozen: once released, the file of a migration never changes. `migrate` stores the
checksum of each file that it applies. A database is refused when one of its migrations is unknown
here, or was applied from a file with other content: its tables then differ from what the code
expects, in ways that no further migration would repair.
"""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from django.core import checks
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.migration import Migration

OUR_APPS = ("accounts", "audit", "tasks")
CREATE_TABLE = """
CREATE TABLE IF NOT EXISTS taskflow_migrations (
  app varchar(255) NOT NULL, name varchar(255) NOT NULL, checksum char(64) NOT NULL,
  PRIMARY KEY (app, name)
)
"""
INSERT_CHECKSUM = """
INSERT INTO taskflow_migrations (app, name, checksum) VALUES (%s, %s, %s)
ON CONFLICT (app, name) DO UPDATE SET checksum = excluded.checksum
"""
NEWER_DATABASE = (
    "This database was made by a newer version of TaskFlow: the migration {} is applied, and this"
    " version does not have it. Install the version that made the database, or a later one."
)
DIFFERENT_DATABASE = (
    "This database was made by a different version of TaskFlow: the migration {} was applied with"
    " other content than it has in this version. Install the version that made the database; to"
    " move to this one, export each tenant with that version and import it into a new database."
)


def compute_checksum(migration: Migration) -> str:
    """Return the SHA-256 of the migration's source text, in hexadecimal digits."""
    source = inspect.getsource(sys.modules[type(migration).__module__])
    return hashlib.sha256(source.encode()).hexdigest()


def record_migration(connection: BaseDatabaseWrapper, migration: Migration) -> None:
    """Store the checksum of one of our migrations. Call this before the migration is applied.

    A process that is killed between the two leaves a checksum without a migration, which is
    harmless. In the other order it would leave a database that is refused for ever.
    """
    if migration.app_label not in OUR_APPS:
        return
    with connection.cursor() as cursor:
        cursor.execute(CREATE_TABLE)
        values = [migration.app_label, migration.name, compute_checksum(migration)]
        cursor.execute(INSERT_CHECKSUM, values)


def find_incompatibility(connection: BaseDatabaseWrapper) -> str | None:
    """Return one sentence on why this version cannot serve the database, or None if it can.

    A database on which migrations are missing is compatible: `migrate` will apply them. Runs four
    queries and imports all migrations.
    """
    return next(_find_incompatibilities(connection), None)


def _find_incompatibilities(connection: BaseDatabaseWrapper) -> Iterator[str]:
    loader = MigrationLoader(connection)
    applied = sorted(key for key in loader.applied_migrations if key[0] in OUR_APPS)
    checksums = _read_checksums(connection)
    for app, name in applied:
        if (app, name) not in loader.disk_migrations:
            yield NEWER_DATABASE.format(f"{app}.{name}")
    for app, name in applied:
        migration = loader.disk_migrations[app, name]
        if checksums.get((app, name)) != compute_checksum(migration):
            yield DIFFERENT_DATABASE.format(f"{app}.{name}")


def _read_checksums(connection: BaseDatabaseWrapper) -> dict[tuple[str, str], str]:
    """Return the stored checksum of each migration. Empty if the table does not exist yet."""
    with connection.cursor() as cursor:
        if "taskflow_migrations" not in connection.introspection.table_names(cursor):
            return {}
        cursor.execute("SELECT app, name, checksum FROM taskflow_migrations")
        return {(app, name): checksum for app, name, checksum in cursor.fetchall()}


@checks.register(checks.Tags.database)
def check_database_version(
    app_configs: Any, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """System check, run by `manage.py check --database default`."""
    sentences = [find_incompatibility(connections[alias]) for alias in databases or []]
    return [checks.Error(text, id="taskflow.E001") for text in sentences if text]
