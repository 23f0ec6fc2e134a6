"""`Prefer: return=representation`: the answer to a deletion says what went along."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from taskflow.tenancy import inside
from tasks.actions.comments import create_comment, delete_comment
from tasks.actions.pages import create_page
from tasks.changes.tasks import create_task, delete_task

pytestmark = pytest.mark.one_database

NONE = {"projects": 0, "tasks": 0, "comments": 0, "pages": 0}
PREFER = {"Prefer": "return=representation"}


@pytest.fixture
def rows(fixtures):
    """Apollo with a task, two subtasks of which one is in the trash, comments, and a page."""
    ada, apollo = fixtures.ada, fixtures.apollo
    with inside(fixtures.acme):
        subtask = create_task(ada, apollo, title="part", parent=fixtures.task)
        gone = create_task(ada, apollo, title="gone", parent=fixtures.task)
        comments = [create_comment(ada, task, body="x") for task in (fixtures.task, subtask, gone)]
        delete_comment(ada, create_comment(ada, subtask, body="deleted before"))
        delete_task(ada, gone)
        page = create_page(ada, apollo, title="p")
    return {"comment": comments[0].pk, "page": page.pk, "task": fixtures.task.pk}


def test_deleting_a_task_reports_its_subtasks_and_their_comments(fixtures, as_, rows):
    r = as_(fixtures.ada).delete("/tasks/APO-1", headers=PREFER)

    assert (r.status_code, r.json()["deleted"]) == (200, NONE | {"tasks": 2, "comments": 2})
    assert r.headers["Preference-Applied"] == "return=representation"
    until = datetime.fromisoformat(r.json()["restorable_until"])
    task = as_(fixtures.ada).get("/trash?kind=task").json()["data"][0]
    assert until == datetime.fromisoformat(task["deleted_at"]) + timedelta(days=30)


def test_deleting_a_project_reports_what_is_in_it(fixtures, as_, rows):
    r = as_(fixtures.ada).delete("/projects/APO", headers=PREFER)

    expected = {"projects": 1, "tasks": 2, "comments": 2, "pages": 1}
    assert (r.status_code, r.json()["deleted"]) == (200, expected)


@pytest.mark.parametrize("kind", ["comment", "page"])
def test_deleting_a_single_row_reports_one(fixtures, as_, rows, kind):
    r = as_(fixtures.ada).delete(f"/{kind}s/{rows[kind]}", headers=PREFER)

    assert (r.status_code, r.json()["deleted"]) == (200, NONE | {f"{kind}s": 1})


def test_dry_run_reports_what_would_be_deleted(fixtures, as_, rows):
    client = as_(fixtures.ada)

    r = client.delete("/tasks/APO-1?dry_run=true", headers=PREFER)

    assert r.status_code == 200
    assert client.get("/tasks/APO-1").status_code == 200


@pytest.mark.parametrize(
    ("preference", "status"),
    [
        (None, 204),
        ("return=minimal", 204),
        ("respond-async", 204),
        ("return=everything", 204),
        ('respond-async, Return="representation"; foo=1', 200),
    ],
)
def test_answer_has_a_body_only_if_the_client_prefers_it(fixtures, as_, rows, preference, status):
    headers = {"Prefer": preference} if preference else {}

    r = as_(fixtures.ada).delete("/tasks/APO-1", headers=headers)

    assert r.status_code == status
    assert bool(r.content) == (status == 200)
