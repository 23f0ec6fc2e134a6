"""A role that may only read. There is none yet: the tests store one past the check constraint."""

from __future__ import annotations

import json

import pytest
from django.db import connection

from taskflow.tenancy import inside
from tasks.actions.comments import create_comment
from tasks.actions.pages import create_page
from tasks.changes.tasks import create_task
from tasks.models import Comment, Page, ProjectMember
from tasks.queries.lookup import find_project, find_row, find_task


@pytest.fixture
def viewer(fixtures, as_):
    """A client of Eve's, who has the role `viewer` in Apollo."""
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL cannot switch check constraints off.")
    with inside(fixtures.acme), connection.cursor() as cursor:
        cursor.execute("PRAGMA ignore_check_constraints = ON")
        ProjectMember.objects.bulk_create(
            [ProjectMember(project=fixtures.apollo, user=fixtures.eve.user, role="viewer")]
        )
        cursor.execute("PRAGMA ignore_check_constraints = OFF")
    return as_(fixtures.eve)


def test_viewer_can_read(fixtures, viewer):
    assert viewer.get("/tasks").json()["data"][0]["title"] == "Launch"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("post", "/tasks", {"project_id": "{project}", "title": "x"}),
        ("patch", "/tasks/APO-1", {"title": "x"}),
        ("delete", "/tasks/APO-1", None),
        ("post", "/tasks/APO-1/completion", None),
        ("post", "/tasks/bulk", {"operations": [{"op": "complete", "id": "{task}"}]}),
        ("post", "/comments", {"task_id": "{task}", "body": "x"}),
        ("post", "/pages", {"project_id": "{project}", "title": "x"}),
        ("post", "/projects/APO/completion", None),
        ("put", "/projects/APO/tasks/by-ref/r-1", {"title": "x"}),
        ("patch", "/projects/APO", {"name": "x"}),
    ],
)
def test_viewer_cannot_write(fixtures, viewer, method, path, body):
    ids = {"{project}": fixtures.apollo.pk, "{task}": fixtures.task.pk}
    sent = json.dumps(body) if body else ""
    for name, row_id in ids.items():
        sent = sent.replace(f'"{name}"', str(row_id))

    response = getattr(viewer, method)(path, sent or None)

    assert response.status_code == 403, response.content


def test_each_lookup_reads_the_role_with_the_row(fixtures, assert_statements):
    with inside(fixtures.acme):
        comment = create_comment(fixtures.bob, fixtures.task, body="x")
        page = create_page(fixtures.bob, fixtures.apollo, title="x")
        with assert_statements(4):
            rows = [
                find_project(fixtures.bob, "APO"),
                find_task(fixtures.bob, "APO-1").project,
                find_row(fixtures.bob, Comment, comment.pk).task.project,
                find_row(fixtures.bob, Page, page.pk).project,
            ]
        roles = [project.get_loaded_role(fixtures.bob.user.pk) for project in rows]

    assert roles == ["member"] * 4


def test_role_loaded_for_another_user_is_not_used(fixtures):
    with inside(fixtures.acme):
        project = find_project(fixtures.ada, "APO")

        assert project.get_loaded_role(fixtures.ada.user.pk) == "owner"
        assert project.get_loaded_role(fixtures.eve.user.pk) is None


def test_viewer_claims_no_task(fixtures, viewer):
    with inside(fixtures.acme):
        task = create_task(fixtures.ada, fixtures.apollo, title="Free")

    assert viewer.post("/claims", {}).status_code == 204
    assert viewer.post("/claims", {"task": task.pk}).status_code == 403
