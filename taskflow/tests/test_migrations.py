"""Migrations run forwards and backwards with rows in the tables, and agree with the models."""

from __future__ import annotations

import subprocess
import sys
from threading import Thread

import pytest
from django.core.management import CommandError, call_command
from django.core.management.commands.migrate import Command as MigrateCommand
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from conftest import build_fixtures
from taskflow.database_version import find_incompatibility
from taskflow.management import pooler
from taskflow.management.commands import migrate
from taskflow.management.commands.migrate import CREATE_ROLES
from taskflow.tenancy import has_roles, inside
from taskflow.tenancy.checks import find_violations
from taskflow.tests.server import clean_environment
from tasks.actions.projects import create_project
from tasks.changes.tasks import create_task
from tasks.models import Outcome, Project, Task, TaskCountDelta

on_postgresql = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="a pooler is in front of PostgreSQL"
)


def test_models_and_migrations_agree(db):
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


@pytest.fixture
def _migrated_again():
    """Restore all tables, so that the next test finds them when this one fails."""
    yield
    call_command("migrate", verbosity=0)


@pytest.fixture
def behind_pooler(monkeypatch):
    monkeypatch.setattr(pooler, "is_behind_pooler", lambda connection: True)


@on_postgresql
@pytest.mark.usefixtures("db", "behind_pooler")
def test_migrating_through_a_pooler_is_refused(monkeypatch):
    """The owner role, which belongs to a session, would stay with a connection that others use."""
    with pytest.raises(CommandError, match="migrate` cannot work through a connection pooler"):
        call_command("migrate", "tasks", "zero", verbosity=0)
    monkeypatch.setattr(migrate, "find_unapplied_migrations", lambda: ["0002 is not applied"])
    with pytest.raises(CommandError, match="migrate` cannot work through a connection pooler"):
        call_command("migrate", verbosity=0)


@on_postgresql
@pytest.mark.usefixtures("db", "behind_pooler")
def test_migrating_a_current_database_through_a_pooler_sets_nothing(monkeypatch):
    """`serve` migrates at every start."""
    monkeypatch.setattr(migrate, "prepare_roles", None)  # which sets the role of the session

    call_command("migrate", verbosity=0)


@on_postgresql
def test_migrating_a_current_database_grants_and_writes_nothing(transactional_db):
    """`serve` migrates at every start, also on a database that accepts only reads."""
    with connection.cursor() as cursor, CaptureQueriesContext(connection) as queries:
        cursor.execute("SET default_transaction_read_only = on")
        try:
            call_command("migrate", verbosity=0)
        finally:
            cursor.execute("SET default_transaction_read_only = off")

    words = {query["sql"].split()[0].upper() for query in queries}
    assert words & {"GRANT", "ALTER", "CREATE", "INSERT", "UPDATE", "DO"} == set()


@on_postgresql
def test_migrating_lifts_the_limits_of_time_and_sets_them_again(transactional_db, monkeypatch):
    found = []

    def read_limits(*args: object, **options: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT current_setting('statement_timeout'),"
                " current_setting('idle_in_transaction_session_timeout')"
            )
            found.append(cursor.fetchone())

    monkeypatch.setattr(MigrateCommand, "handle", read_limits)
    monkeypatch.setattr(migrate, "is_up_to_date", lambda connection: False)
    read_limits()
    call_command("migrate", verbosity=0)
    read_limits()

    assert found == [("5s", "10s"), ("0", "0"), ("5s", "10s")]


@on_postgresql
def test_connection_to_the_server_itself_is_not_behind_a_pooler(db):
    assert not pooler.is_behind_pooler(connection)


@on_postgresql
@pytest.mark.usefixtures("behind_pooler")
def test_flushing_through_a_pooler_is_refused(fixtures):
    if not has_roles(connection):
        pytest.skip("Without the owner role, flush sets no role for the session.")

    with pytest.raises(
        CommandError, match=r"Run `\S+ -m taskflow\.command_line flush` with a DATABASE_URL that"
    ):
        call_command("flush", verbosity=0, interactive=False)

    with inside(fixtures.acme):
        assert Task.objects.count() == 1


@pytest.mark.slow
@pytest.mark.isolation
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_migrated_again")
@pytest.mark.parametrize(
    ("app", "removed", "kept"),
    [
        ("tasks", "tasks_task", "audit_event"),
        ("audit", "audit_event", "accounts_user"),
        ("accounts", "accounts_user", "django_session"),  # and all tables that reference users
    ],
)
def test_an_app_with_rows_is_migrated_to_zero_and_back(app, removed, kept):
    build_fixtures()

    call_command("migrate", app, "zero", verbosity=0)
    tables = connection.introspection.table_names()
    assert removed not in tables
    assert kept in tables
    call_command("migrate", verbosity=0)

    assert find_violations() == []
    assert find_incompatibility(connection) is None
    call_command("flush", verbosity=0, interactive=False)
    again = build_fixtures()
    with inside(again.acme):
        assert Task.objects.count() == 1


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_migrated_again")
def test_rows_of_other_apps_stay_when_an_app_is_migrated_to_zero():
    fixtures = build_fixtures()

    call_command("migrate", "tasks", "zero", verbosity=0)

    with inside(fixtures.acme):
        assert User.objects.filter(handle="ada").exists()


@pytest.mark.slow
@pytest.mark.isolation
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_migrated_again")
def test_done_tasks_of_all_tenants_become_completed_and_counts_stay_right():
    fixtures = build_fixtures()
    actors = {fixtures.acme: fixtures.ada, fixtures.mallory.tenant: fixtures.mallory}
    for tenant, actor in actors.items():
        with inside(tenant):
            project = create_project(actor, name="Done", key="DON")
            for outcome in Outcome:
                create_task(actor, project, title="x", status="done", outcome=outcome)

    call_command("migrate", "tasks", "0003", verbosity=0)
    call_command("migrate", verbosity=0)

    for tenant in actors:
        with inside(tenant):
            assert set(Task.objects.values_list("status", "outcome")) <= {
                ("done", "completed"), ("todo", None),
            }  # fmt: skip
            assert Task.objects.filter(outcome="completed").count() == 2
            assert TaskCountDelta.find_wrong_counts(Project.everything.all()) == []


@pytest.mark.raw_sql
def test_two_databases_of_a_server_can_create_the_roles_at_the_same_time(db):
    if connection.vendor != "postgresql" or not has_roles(connection):
        pytest.skip("needs a login that creates roles")
    sql = CREATE_ROLES.replace("taskflow_", "race_")
    errors = []

    def create_in_another_session():
        try:
            connection.cursor().execute(sql)
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    first = connection.copy()
    try:
        first.set_autocommit(False)
        first.cursor().execute(sql)
        other = Thread(target=create_in_another_session)
        other.start()
        with connection.cursor() as cursor:
            while not is_waiting_for_roles(cursor):
                assert other.is_alive(), errors
        first.commit()
        other.join(10)

        assert errors == []
    finally:
        first.rollback()
        first.set_autocommit(True)
        first.cursor().execute("DROP ROLE IF EXISTS race_owner, race_app")
        first.close()


def is_waiting_for_roles(cursor):
    cursor.execute("SELECT pg_stat_clear_snapshot()")
    cursor.execute(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND query LIKE '%race_owner%' AND pid <> pg_backend_pid()"
    )
    return cursor.fetchone()[0]


@pytest.mark.slow
@pytest.mark.skipif(connection.vendor != "sqlite", reason="only SQLite creates tables anew")
def test_indexes_and_constraints_added_in_place_give_the_same_schema(tmp_path):
    """Compared with the way of Django, which renders the models again."""
    schemas = []
    for name, setup in (("in place", ""), ("rendered", "migrate.adding_in_place = nullcontext")):
        directory = tmp_path / name
        program = f"""
import django; django.setup()
from contextlib import nullcontext
from django.core.management import call_command
from django.db import connection
from taskflow.management.commands import migrate
{setup}
call_command("migrate", verbosity=0)
with connection.cursor() as cursor:
    cursor.execute("SELECT type, name, sql FROM sqlite_master ORDER BY type, name")
    print(cursor.fetchall())
"""
        run = subprocess.run(
            [sys.executable, "-c", program],
            env=clean_environment(directory) | {"DJANGO_SETTINGS_MODULE": "taskflow.settings"},
            stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        schemas.append(run.stdout)

    assert "task_number_key" in schemas[0]
    assert schemas[0] == schemas[1]
