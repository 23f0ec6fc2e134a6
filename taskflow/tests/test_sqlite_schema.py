"""Migrations on SQLite, which copy a table to change it."""

from __future__ import annotations

import pytest
from django.db import connection

from conftest import ApiClient, build_fixtures, token_of
from taskflow.tenancy import inside
from tasks.changes.tasks import create_task
from tasks.models import Task

pytestmark = pytest.mark.skipif(connection.vendor != "sqlite", reason="about SQLite")


@pytest.mark.django_db(transaction=True)
def test_copied_table_keeps_its_full_text_index_up_to_date():
    fixtures = build_fixtures()
    with connection.schema_editor() as editor:
        editor._remake_table(Task)

    with inside(fixtures.acme):
        task = create_task(fixtures.ada, fixtures.apollo, title="Zeppelin")

    assert search(fixtures, "zeppelin") == [task.pk]
    assert search(fixtures, "launch") == [fixtures.task.pk], "was there before the copy"


def search(fixtures, words):
    client = ApiClient(token_of(fixtures.ada))
    return [row["id"] for row in client.get(f"/search?q={words}").json()["data"]]
