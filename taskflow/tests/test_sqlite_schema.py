"""Migrations on SQLite, which copy a table to change it."""

from __future__ import annotations

import pytest
from django.db import connection

from conftest import ApiClient, build_world, token_of
from taskflow.tenancy import inside
from tasks.changes.tasks import create_task
from tasks.models import Task

pytestmark = pytest.mark.skipif(connection.vendor != "sqlite", reason="about SQLite")


@pytest.mark.django_db(transaction=True)
def test_copied_table_keeps_its_full_text_index_up_to_date():
    world = build_world()
    with connection.schema_editor() as editor:
        editor._remake_table(Task)

    with inside(world.acme):
        task = create_task(world.ada, world.apollo, title="Zeppelin")

    assert found(world, "zeppelin") == [task.pk]
    assert found(world, "launch") == [world.task.pk], "was there before the copy"


def found(world, words):
    client = ApiClient(token_of(world.ada))
    return [row["id"] for row in client.get(f"/search?q={words}").json()["data"]]
