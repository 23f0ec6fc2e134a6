"""Migrations run forwards and backwards, with data in the tables, and say all that models say."""

from __future__ import annotations

import pytest
from django.core.management import call_command
from django.db import connection

from accounts.models import User
from accounts.tenancy import inside
from accounts.wallcheck import find_breaches
from conftest import build_world
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
    assert find_breaches() == []

    call_command("migrate", "accounts", "zero", verbosity=0)
    assert "accounts_user" not in connection.introspection.table_names()
    call_command("migrate", verbosity=0)
    assert find_breaches() == []
    again = build_world()
    with inside(again.acme):
        assert Task.objects.count() == 1
