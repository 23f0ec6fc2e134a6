"""Migrations run forwards and backwards, with data in the tables, and say all that models say."""

from __future__ import annotations

from threading import Thread

import pytest
from django.core.management import call_command
from django.db import connection

from accounts.models import User
from conftest import build_world
from taskflow.management.commands.migrate import CREATE_ROLES
from taskflow.tenancy import has_roles, inside
from taskflow.tenancy.checks import find_violations
from tasks.models import Task


def test_models_and_migrations_agree(db):
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)


@pytest.fixture
def _migrated_again():
    """Whatever happens in the test, the next one finds the whole database."""
    yield
    call_command("migrate", verbosity=0)


@pytest.mark.wall
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_migrated_again")
def test_back_and_forth_with_data_in_the_tables():
    world = build_world()

    call_command("migrate", "tasks", "zero", verbosity=0)
    assert "tasks_task" not in connection.introspection.table_names()
    with inside(world.acme):
        assert User.objects.filter(handle="ada").exists()
    call_command("migrate", verbosity=0)
    with inside(world.acme):
        assert Task.objects.count() == 0
    assert find_violations() == []

    call_command("migrate", "accounts", "zero", verbosity=0)
    assert "accounts_user" not in connection.introspection.table_names()
    call_command("migrate", verbosity=0)
    assert find_violations() == []
    again = build_world()
    with inside(again.acme):
        assert Task.objects.count() == 1


@pytest.mark.raw_sql
def test_two_databases_of_one_server_may_be_set_up_at_once(db):
    if connection.vendor != "postgresql" or not has_roles(connection):
        pytest.skip("needs a login that creates roles")
    sql = CREATE_ROLES.replace("taskflow_", "race_")
    errors = []

    def elsewhere():
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
        other = Thread(target=elsewhere)
        other.start()
        with connection.cursor() as cursor:
            while not waiting_for_roles(cursor):
                assert other.is_alive(), errors
        first.commit()
        other.join(10)

        assert errors == []
    finally:
        first.rollback()
        first.set_autocommit(True)
        first.cursor().execute("DROP ROLE IF EXISTS race_owner, race_app")
        first.close()


def waiting_for_roles(cursor):
    cursor.execute("SELECT pg_stat_clear_snapshot()")
    cursor.execute(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE wait_event_type = 'Lock' AND query LIKE '%race_owner%' AND pid <> pg_backend_pid()"
    )
    return cursor.fetchone()[0]
