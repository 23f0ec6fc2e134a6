"""GET /tasks/{id}?include=comments: a task with its latest comments."""

from __future__ import annotations

import pytest

from taskflow.tenancy import inside
from tasks.actions.comments import create_comment, delete_comment
from tasks.changes.tasks import create_task

PATH = "/tasks/APO-1?include=comments"


@pytest.fixture
def comments(fixtures):
    """Three comments on the task, one of which is in the trash, and one on another task."""
    with inside(fixtures.acme):
        rows = [
            create_comment(actor, fixtures.task, body=f"{n} ü\n🚀")
            for n, actor in enumerate((fixtures.bob, fixtures.ada, fixtures.bob))
        ]
        other = create_task(fixtures.ada, fixtures.apollo, title="other")
        create_comment(fixtures.ada, other, body="elsewhere")
        delete_comment(fixtures.ada, rows.pop(1))
    return rows


def test_task_has_its_comments_in_the_order_in_which_they_were_written(fixtures, as_, comments):
    client = as_(fixtures.ada)

    task = client.get(PATH).json()

    assert task.pop("comments") == {
        "data": [client.get(f"/comments/{comment.pk}").json() for comment in comments],
        "has_more": False,
    }
    assert task == client.get("/tasks/APO-1").json()


def test_only_the_latest_comments_are_returned(fixtures, as_):
    with inside(fixtures.acme):
        ids = [create_comment(fixtures.ada, fixtures.task, body="x").pk for _ in range(51)]

    found = as_(fixtures.ada).get(PATH).json()["comments"]

    assert [comment["id"] for comment in found["data"]] == ids[1:]
    assert found["has_more"] is True


def test_task_without_comments_has_an_empty_list(fixtures, as_):
    expected = {"data": [], "has_more": False}

    assert as_(fixtures.ada).get(PATH).json()["comments"] == expected


def test_etag_changes_with_the_comments_and_is_a_version_of_the_task(fixtures, as_, comments):
    client = as_(fixtures.bob)
    before = client.get(PATH).headers["ETag"]
    assert client.get(PATH, headers={"If-None-Match": before}).status_code == 304

    client.patch(f"/comments/{comments[0].pk}", {"body": "other"})

    after = client.get(PATH, headers={"If-None-Match": before})
    assert (after.status_code, after.headers["ETag"] == before) == (200, False)
    r = client.patch("/tasks/APO-1", {"title": "New"}, headers={"If-Match": before})
    assert r.status_code == 200


@pytest.mark.parametrize("who", ["eve", "mallory"])
def test_comments_of_an_invisible_task_are_not_found(fixtures, as_, comments, who):
    assert as_(getattr(fixtures, who)).get(PATH).status_code == 404


def test_token_bound_to_another_project_finds_nothing(fixtures, as_, comments):
    other = as_(fixtures.ada).post("/projects", {"name": "Other"}).json()["id"]

    assert as_(fixtures.ada, project_ids=[other]).get(PATH).status_code == 404


def test_former_key_and_id_find_the_task_with_its_comments(fixtures, as_, comments):
    client = as_(fixtures.ada)
    client.patch("/projects/APO", {"key": "NEW"})

    for ref in ("APO-1", fixtures.task.pk):
        assert len(client.get(f"/tasks/{ref}?include=comments").json()["comments"]["data"]) == 2


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("include=count", "unknown_value"),
        ("include=", "unknown_value"),
        ("include=comments&include=comments", "repeated"),
        ("included=comments", "unknown_parameter"),
    ],
)
def test_other_parameters_are_refused(fixtures, as_, query, code):
    r = as_(fixtures.ada).get(f"/tasks/APO-1?{query}")

    assert (r.status_code, r.json()["errors"][0]["code"]) == (422, code)
