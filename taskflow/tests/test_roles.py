"""The roles of PostgreSQL: what the login of a server can become, and what each role may do."""

from __future__ import annotations

import os
import subprocess
import sys
from urllib.parse import urlsplit

import psycopg
import pytest
from django.db import DatabaseError, connection, transaction

from taskflow.tenancy import (
    APP_ROLE,
    OWNER_ROLE,
    PLATFORM_ROLE,
    TenantError,
    across_tenants,
    has_roles,
    inside,
)
from taskflow.tests.server import ROOT
from tasks.models import Task

pytestmark = [
    pytest.mark.skipif(connection.vendor != "postgresql", reason="about roles of PostgreSQL"),
    pytest.mark.isolation,
    pytest.mark.raw_sql,
]
SERVER_LOGIN = "taskflow_test_server"
DDL = ("CREATE TABLE extra (id int)", "ALTER TABLE tasks_tag DISABLE ROW LEVEL SECURITY")
POLICY = "CREATE POLICY extra ON tasks_tag USING (true)"


@pytest.fixture
def roles(db):
    if not has_roles(connection):
        pytest.skip("the login may not create roles")


def execute(sql, *params):
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall() if cursor.description else None


def assert_denied(sql):
    """PostgreSQL refuses the statement for missing rights. If the policy is planned first, it
    refuses the empty tenant of a unit of work of all tenants.
    """
    with pytest.raises(DatabaseError) as refusal, transaction.atomic():
        execute(sql)
    assert refusal.value.__cause__.sqlstate in ("42501", "22P02")


def test_unit_of_work_of_all_tenants_runs_as_the_platform_role_and_reads_all(roles, fixtures):
    with across_tenants("a test"):
        assert execute("SELECT current_user") == [(PLATFORM_ROLE,)]
        tenants = set(Task.objects.values_list("tenant_id", flat=True))

    assert tenants == {fixtures.acme.pk, fixtures.globex.pk}


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE tasks_task SET title = 'x'",
        "DELETE FROM tasks_task",
        "INSERT INTO accounts_tenant (name) VALUES ('x')",
        "TRUNCATE tasks_task",
        *DDL,
        POLICY,
    ],
)
def test_platform_role_writes_no_row_and_changes_no_table(roles, fixtures, sql):
    with across_tenants("a test"):
        assert_denied(sql)


def test_platform_role_has_no_right_to_write_any_table(roles):
    rights = "has_table_privilege(%s, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES')"
    tables = "FROM pg_class c WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace"

    assert execute(f"SELECT relname {tables} AND {rights}", PLATFORM_ROLE) == []


@pytest.mark.parametrize("sql", ["TRUNCATE tasks_task", *DDL, POLICY])
def test_app_role_changes_no_table(roles, fixtures, sql):
    with inside(fixtures.acme):
        assert_denied(sql)


def test_database_without_roles_reads_no_other_tenant(db):
    if has_roles(connection):
        pytest.skip("about a plain login")
    with pytest.raises(TenantError), across_tenants("a test"):
        pass


# ---- a login for servers alone ------------------------------------------------------------------


@pytest.fixture(scope="module")
def server_login(django_db_setup, django_db_blocker):
    """A login with the two roles of a server. Yields its URL of the test database."""
    with django_db_blocker.unblock():
        if not has_roles(connection):
            pytest.skip("the login may not create roles")
        database = connection.settings_dict["NAME"]
    url = urlsplit(os.environ["DATABASE_URL"])
    with psycopg.connect(os.environ["DATABASE_URL"].split("?")[0], autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {SERVER_LOGIN} LOGIN")
        admin.execute(f"GRANT {APP_ROLE} TO {SERVER_LOGIN} WITH INHERIT TRUE, SET TRUE")
        admin.execute(f"GRANT {PLATFORM_ROLE} TO {SERVER_LOGIN} WITH INHERIT FALSE, SET TRUE")
        host = url.netloc.rpartition("@")[2]
        yield f"postgres://{SERVER_LOGIN}@{host}/{database}"
        admin.execute(f"DROP ROLE {SERVER_LOGIN}")


def test_login_of_a_server_becomes_the_app_and_the_platform_role_only(server_login):
    with psycopg.connect(server_login, autocommit=True) as session:
        for role in (APP_ROLE, PLATFORM_ROLE):
            session.execute(f"SET ROLE {role}")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute(f"SET ROLE {OWNER_ROLE}")
        session.execute("RESET ROLE")
        for sql in (*DDL, POLICY, f"GRANT {OWNER_ROLE} TO {SERVER_LOGIN}"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute(sql)


def test_login_of_a_server_sees_no_row_outside_a_unit_of_work(server_login):
    session = psycopg.connect(server_login, autocommit=True)
    with session, pytest.raises(psycopg.errors.UndefinedObject, match=r"taskflow\.tenant"):
        session.execute("SELECT count(*) FROM tasks_task")


def run_manage(url, *arguments):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TASKFLOW_")}
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environment | {"DATABASE_URL": f"{url}?pool=false"},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_login_of_a_server_finds_a_migrated_database_complete_and_has_no_warning(server_login):
    done = run_manage(server_login, "migrate", "--verbosity", "0")
    assert done.returncode == 0, done.stderr

    checked = run_manage(server_login, "check", "--deploy")
    assert "may become" not in checked.stderr, checked.stderr


@pytest.mark.slow
def test_login_of_a_server_cannot_migrate_and_gets_a_reason(server_login):
    done = run_manage(server_login, "migrate", "tasks", "0012", "--verbosity", "0")

    assert done.returncode == 1
    assert "This login may not migrate" in done.stderr, done.stderr
