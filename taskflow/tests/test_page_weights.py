"""How many bytes the pages of the admin have on the network."""

from __future__ import annotations

import gzip
import re

import pytest
from django.test import Client

from conftest import sign_in_browser
from taskflow.tenancy import inside
from tasks.tests.factories import TaskFactory

pytestmark = pytest.mark.one_database

KIB = 1024


@pytest.fixture
def fifty_tasks(fixtures):
    """Fifty tasks of different people in Apollo, as many as a page of the list has."""
    people = (fixtures.ada.user, fixtures.bob.user, fixtures.carl.user)
    for number in range(50):
        TaskFactory(
            actor=fixtures.ada,
            project=fixtures.apollo,
            title=f"Check the {number}th valve of the second stage",
            assignee=people[number % 3],
        )


def test_list_of_50_tasks_is_light(fixtures, fifty_tasks):
    client = Client(headers={"Accept-Encoding": "gzip"})
    with inside(fixtures.acme):
        sign_in_browser(client, fixtures.boss.user)

    r = client.get("/admin/tasks/task/")

    page = gzip.decompress(r.content)
    assert len(re.findall(rb'name="_selected_action"', page)) >= 50
    assert len(r.content) <= 20 * KIB, f"{len(r.content) / KIB:.1f} KiB are sent"
    assert len(page) <= 60 * KIB, f"{len(page) / KIB:.1f} KiB before compression"
