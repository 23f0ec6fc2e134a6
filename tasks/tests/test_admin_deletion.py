"""The delete pages of the admin: what goes along, and until when it can be restored."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.test import Client

from accounts.tests.factories import UserFactory
from conftest import PASSWORD
from taskflow.tenancy import inside
from tasks.actions.comments import create_comment, delete_comment
from tasks.actions.members import add_member
from tasks.actions.pages import create_page
from tasks.actions.tags import create_tag
from tasks.changes.tasks import create_task, delete_task

pytestmark = pytest.mark.one_database

PREFER = {"Prefer": "return=representation"}


@pytest.fixture
def rows(fixtures):
    """Apollo with a task, two subtasks of which one is in the trash, comments, and a page."""
    ada, apollo = fixtures.ada, fixtures.apollo
    with inside(fixtures.acme):
        subtask = create_task(ada, apollo, title="part", parent=fixtures.task, tags=["hot"])
        gone = create_task(ada, apollo, title="gone", parent=fixtures.task, tags=["hot"])
        comments = [create_comment(ada, task, body="x") for task in (fixtures.task, subtask, gone)]
        delete_comment(ada, create_comment(ada, subtask, body="deleted before"))
        delete_task(ada, gone)
        page = create_page(ada, apollo, title="p")
    return {
        "task": fixtures.task,
        "subtask": subtask,
        "comment": comments[0],
        "page": page,
        "project": apollo,
    }


@pytest.fixture
def admin_client(fixtures):
    with inside(fixtures.acme):
        UserFactory(actor=fixtures.boss, handle="root", password=PASSWORD, is_staff=True)
    client = Client(SERVER_NAME="acme.localhost")
    form = {"username": "root@acme.example", "password": PASSWORD}
    assert client.post("/admin/login/?next=/admin/", form).status_code == 302
    return client


def read_summary(page):
    """Return the counts of the summary of a delete page, by their labels in lower case."""
    found = re.findall(r"<li>\s*([A-Z][^:<]*): (\d+)\s*</li>", page)
    return {label.lower(): int(count) for label, count in found}


@pytest.mark.parametrize("kind", ["task", "project", "comment", "page"])
def test_delete_page_shows_the_numbers_that_the_api_answers(
    fixtures, as_, rows, admin_client, kind
):
    row = rows[kind]

    page = admin_client.get(f"/admin/tasks/{kind}/{row.pk}/delete/").content.decode()

    r = as_(fixtures.boss).delete(f"/{kind}s/{row.pk}?dry_run=true", headers=PREFER)
    assert read_summary(page) == {name: n for name, n in r.json()["deleted"].items() if n}


def test_delete_page_shows_until_when_the_rows_can_be_restored(fixtures, rows, admin_client):
    page = admin_client.get(f"/admin/tasks/task/{fixtures.task.pk}/delete/").content.decode()

    shown = re.search(r"until\s+(\d{4}-\d\d-\d\d \d\d:\d\d) (\w+)", page)
    assert shown, page
    zone = ZoneInfo(fixtures.acme.time_zone)
    until = datetime.strptime(shown[1], "%Y-%m-%d %H:%M").replace(tzinfo=zone)
    expected = datetime.now(UTC) + timedelta(days=30)
    assert abs(until - expected) < timedelta(minutes=2)


def test_deleting_several_rows_counts_each_row_once(fixtures, rows, admin_client):
    selected = [rows["task"].pk, rows["subtask"].pk]

    page = admin_client.post(
        "/admin/tasks/task/", {"action": "delete_selected", "_selected_action": selected}
    ).content.decode()

    assert read_summary(page) == {"tasks": 2, "comments": 2}
    assert re.search(r"until\s+\d{4}-\d\d-\d\d", page)


def test_delete_page_of_a_tag_shows_the_tasks_that_lose_it(fixtures, rows, admin_client):
    with inside(fixtures.acme):
        hot = create_task(fixtures.ada, fixtures.apollo, title="x", tags=["hot"]).tags.get()

    page = admin_client.get(f"/admin/tasks/tag/{hot.pk}/delete/").content.decode()

    assert read_summary(page) == {
        "tags": 1,
        "tasks that stay but lose a tag": 2,
        "tasks in the trash that lose a tag": 1,
    }
    assert "Tags have no trash" in page


def test_delete_page_of_a_membership_shows_the_tasks_that_become_unassigned(
    fixtures, as_, admin_client
):
    with inside(fixtures.acme):
        bob = UserFactory(actor=fixtures.boss, handle="bobby")
        member = add_member(fixtures.ada, fixtures.apollo, user=bob)
        for status in ("todo", "in_progress", "done"):
            create_task(fixtures.ada, fixtures.apollo, title="x", status=status, assignee=bob)
        deleted = create_task(fixtures.ada, fixtures.apollo, title="x", assignee=bob)
        delete_task(fixtures.ada, deleted)

    page = admin_client.get(f"/admin/tasks/projectmember/{member.pk}/delete/").content.decode()

    r = as_(fixtures.boss).delete(f"/members/{member.pk}?dry_run=true", headers=PREFER)
    assert r.json() == {"tasks_unassigned": 3}
    assert read_summary(page) == {"project members": 1, "open tasks that become unassigned": 3}


def test_deleting_several_tags_counts_each_task_once(fixtures, rows, admin_client):
    with inside(fixtures.acme):
        task = create_task(fixtures.ada, fixtures.apollo, title="x", tags=["hot", "cold"])
        tags = [tag.pk for tag in task.tags.all()]
        unused = create_tag(fixtures.ada, name="unused").pk

    page = admin_client.post(
        "/admin/tasks/tag/", {"action": "delete_selected", "_selected_action": [*tags, unused]}
    ).content.decode()

    assert read_summary(page) == {
        "tags": 3,
        "tasks that stay but lose a tag": 2,
        "tasks in the trash that lose a tag": 1,
    }
