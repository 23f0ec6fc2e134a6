"""Migrate as the role that owns the tables, then check that tenants are isolated."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands.migrate import Command as Migrate
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from taskflow.database_version import find_incompatibility, record_migration
from taskflow.db.setup_lock import hold_setup_lock
from taskflow.db.sqlite.statistics import write_statistics
from taskflow.http.health import find_unapplied_migrations
from taskflow.management import pooler
from taskflow.management.migration_state import adding_in_place
from taskflow.tenancy import (
    APP_ROLE,
    OWNER_ROLE,
    PLATFORM_ROLE,
    clear_roles_cache,
    has_roles,
)
from taskflow.tenancy.checks import find_violations

ROLES = (OWNER_ROLE, APP_ROLE, PLATFORM_ROLE)
ROLE_NAMES = ", ".join(f"'{name}'" for name in ROLES)
# The owner role owns every table; the app role reads and writes rows; the platform role reads rows
# of all tenants. The login can switch to these roles, but inherits only the rights of the app role.
# So it has no others outside a unit of work.
CREATE_ROLES = f"""
DO $$ DECLARE name text; BEGIN
  FOREACH name IN ARRAY ARRAY[{ROLE_NAMES}] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
      BEGIN
        EXECUTE format('CREATE ROLE %I NOLOGIN', name);
      EXCEPTION WHEN duplicate_object OR unique_violation THEN
        NULL;  -- roles belong to the server: another of its databases is being migrated now
      END;
    END IF;
  END LOOP;
  FOREACH name IN ARRAY ARRAY['{OWNER_ROLE}', '{PLATFORM_ROLE}'] LOOP
    IF NOT pg_has_role(current_user, name, 'SET') THEN
      EXECUTE format('GRANT %I TO %I WITH INHERIT FALSE, SET TRUE', name, current_user);
    END IF;
  END LOOP;
  IF NOT pg_has_role(current_user, '{APP_ROLE}', 'USAGE')
     OR NOT pg_has_role(current_user, '{APP_ROLE}', 'SET') THEN
    EXECUTE format('GRANT {APP_ROLE} TO %I WITH INHERIT TRUE, SET TRUE', current_user);
  END IF;
END $$
"""
# Whether the login can use all roles: each exists and is granted to it, or it may create it.
CAN_HAVE_ROLES = f"""
SELECT login.rolsuper OR bool_and(CASE WHEN r.oid IS NULL THEN login.rolcreaterole
         ELSE pg_has_role(current_user, r.oid, 'SET')
           OR pg_has_role(current_user, r.oid, 'MEMBER WITH ADMIN OPTION') END)
FROM pg_roles login, unnest(ARRAY[{ROLE_NAMES}]) role LEFT JOIN pg_roles r ON r.rolname = role
WHERE login.rolname = current_user GROUP BY login.rolsuper
"""
# A database that was set up without the roles keeps its tables in the login's name.
HAS_OTHER_OWNER = """
SELECT EXISTS (SELECT FROM pg_tables WHERE tablename = 'django_migrations'
               AND schemaname = current_schema() AND tableowner <> %s)
"""
# Whether the login has been granted what a server needs. It need not be able to become the owner.
HAS_ROLES = f"""
SELECT count(*) = 2 AND bool_and(pg_has_role(current_user, oid, 'SET')
  AND (rolname = '{PLATFORM_ROLE}' OR pg_has_role(current_user, oid, 'USAGE')))
FROM pg_roles WHERE rolname IN ('{APP_ROLE}', '{PLATFORM_ROLE}')
"""
GRANTS = f"""
GRANT USAGE, CREATE ON SCHEMA public TO {OWNER_ROLE};
GRANT USAGE ON SCHEMA public TO {APP_ROLE}, {PLATFORM_ROLE};
"""
DEFAULT_GRANTS = f"""
ALTER DEFAULT PRIVILEGES IN SCHEMA public
  GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {APP_ROLE};
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO {APP_ROLE};
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {PLATFORM_ROLE};
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, UPDATE ON SEQUENCES TO {PLATFORM_ROLE};
"""
# The owner of the tables is the owner role, which the login cannot become.
CANNOT_BECOME_OWNER = f"""
SELECT EXISTS (SELECT FROM pg_tables WHERE tablename = 'django_migrations'
               AND schemaname = current_schema() AND tableowner = '{OWNER_ROLE}')
"""
# Computing the models of a migration may take seconds between two of its statements.
LIFTED_LIMITS = ("statement_timeout", "idle_in_transaction_session_timeout")
REFUSAL = (
    "This login may not migrate, because it may not use all of the roles"
    f" {', '.join(ROLES)}. Migrate with the login that set up the database; if that is this one,"
    f" create the missing roles and grant them to it: see docs/architecture.md."
)


class Command(Migrate):
    def execute(self, *args: Any, **options: Any) -> str | None:
        """Migrate, one process after another. Raise CommandError for a database of another version,
        before checks read its tables.
        """
        connection = connections[options["database"]]
        with self.wait_for_others(connection, options):
            if sentence := find_incompatibility(connection):
                raise CommandError(sentence)
            # A named app may be migrated backwards.
            with nullcontext() if options["app_label"] else adding_in_place():
                return super().execute(*args, **options)

    def wait_for_others(
        self, connection: BaseDatabaseWrapper, options: Mapping[str, object]
    ) -> AbstractContextManager[None]:
        """Return a lock that other processes respect. None is needed where nothing is migrated."""
        is_reading = options["plan"] or options["check_unapplied"]
        if is_reading or (connection.vendor != "sqlite" and pooler.is_behind_pooler(connection)):
            return nullcontext()
        return hold_setup_lock(connection, self.report_wait if options["verbosity"] else None)

    def report_wait(self) -> None:
        self.stdout.write("Another process sets up this database. Waiting for its end.")

    def migration_progress_callback(
        self, action: str, migration: Any = None, fake: bool = False
    ) -> None:
        if action == "apply_start":
            record_migration(self.connection, migration)
        super().migration_progress_callback(action, migration, fake)

    def handle(self, *args: Any, **options: Any) -> None:
        options["run_syncdb"] = False  # apps without migrations have no tables: see settings
        self.connection = connection = connections[options["database"]]
        if connection.vendor == "sqlite":
            super().handle(*args, **options)
            if not (options["plan"] or options["check_unapplied"]):
                write_statistics(connection)
            return
        self._migrate_postgresql(connection, *args, **options)

    def _migrate_postgresql(
        self, connection: BaseDatabaseWrapper, *args: Any, **options: Any
    ) -> None:
        if pooler.is_behind_pooler(connection):
            self._check_behind_pooler(str(options["app_label"] or ""))
            return
        if not options["app_label"] and is_up_to_date(connection):
            has_owner = has_roles(connection)
            super().handle(*args, **options)
        else:
            has_owner = self._migrate_as_owner(connection, *args, **options)
        is_complete = not (options["app_label"] or options["plan"] or options["check_unapplied"])
        if is_complete and (violations := find_violations()):
            raise CommandError("Tenants are not isolated: " + "; ".join(violations))
        if is_complete and not has_owner and options["verbosity"] > 0:
            self.stdout.write(
                f"  The login may not create the roles {', '.join(ROLES)}. Row-level"
                " security applies to it nevertheless; see docs/architecture.md."
            )

    def _migrate_as_owner(
        self, connection: BaseDatabaseWrapper, *args: Any, **options: Any
    ) -> bool:
        """Migrate. Return whether the tables have an owner role."""
        has_owner = prepare_roles(connection)
        with connection.cursor() as cursor:
            for limit in LIFTED_LIMITS:
                cursor.execute(f"SET {limit} = 0")
            # Adding a foreign key reads both tables. If the policies apply to the owner, too, they
            # need a value; with this one no rows are visible. A migration that changes rows has to
            # open a unit of work for each tenant.
            cursor.execute("SET taskflow.tenant = '0'")
        try:
            super().handle(*args, **options)
        finally:
            reset_connection(connection)
            clear_roles_cache(connection)
        return has_owner

    def _check_behind_pooler(self, app_label: str) -> None:
        """Raise CommandError if there is anything to migrate, or if tenants are not isolated."""
        if app_label or find_unapplied_migrations():
            raise pooler.build_refusal("migrate")
        if violations := find_violations():
            raise CommandError("Tenants are not isolated: " + "; ".join(violations))


def is_up_to_date(connection: BaseDatabaseWrapper) -> bool:
    """Return whether there is nothing to migrate and nothing to grant.

    Then `migrate` writes nothing, so that a server also starts on a database that accepts only
    reads, and with a login that must not grant.
    """
    with connection.cursor() as cursor:
        cursor.execute(HAS_OTHER_OWNER, [OWNER_ROLE])
        has_other_owner = cursor.fetchone()[0]
        cursor.execute(HAS_ROLES)
        has_all = has_other_owner or cursor.fetchone()[0]
    return bool(has_all) and not find_unapplied_migrations()


def reset_connection(connection: BaseDatabaseWrapper) -> None:
    """Reset the role and the settings. A pool would give the connection to another thread."""
    connection.connection.rollback()  # a migration may have failed
    with connection.cursor() as cursor:
        for setting in ("ROLE", *LIFTED_LIMITS, "taskflow.tenant"):
            cursor.execute(f"RESET {setting}")


def prepare_roles(connection: BaseDatabaseWrapper) -> bool:
    """Create the roles if necessary, and switch to the owner role.

    Return False, without a change, if the login may not do so or if the database was set up without
    the roles. Raises CommandError if the owner role owns the tables and the login cannot become it.
    """
    with connection.cursor() as cursor:
        cursor.execute(HAS_OTHER_OWNER, [OWNER_ROLE])
        has_other_owner = cursor.fetchone()[0]
        cursor.execute(CAN_HAVE_ROLES)
        if has_other_owner or not cursor.fetchone()[0]:
            cursor.execute(CANNOT_BECOME_OWNER)
            if cursor.fetchone()[0]:
                raise CommandError(REFUSAL)
            return False
        cursor.execute(CREATE_ROLES)
        cursor.execute(GRANTS)
        cursor.execute(f"SET ROLE {OWNER_ROLE}")
        cursor.execute(DEFAULT_GRANTS)
    return True
