"""Comments: markdown stored as written, which only the author can change."""

from __future__ import annotations

import pytest

from taskflow.tenancy import inside
from tasks.actions.comments import create_comment
from tasks.changes.tasks import create_task, delete_task

pytestmark = pytest.mark.one_database

TEXT = "  - a\n\n```\n  code\n```\n\n"


def say(client, body="x", task="APO-1"):
    task_id = client.get(f"/tasks/{task}").json().get("id", 10**9)
    return client.post("/comments", {"task_id": task_id, "body": body})


def test_body_is_stored_as_written(fixtures, as_, events):
    r = say(as_(fixtures.bob), TEXT)

    comment = dict(r.json())
    assert r.status_code == 201
    assert r.headers["Location"] == f"/api/v1/comments/{comment['id']}"
    assert comment.pop("author")["email"] == "bob@acme.example"
    assert comment.pop("created_at") <= comment.pop("updated_at")
    assert comment == {
        "id": comment["id"],
        "task_id": fixtures.task.pk,
        "task_key": "APO-1",
        "author_id": fixtures.bob.user.pk,
        "body": TEXT,
        "edited_at": None,
        "version": 1,
    }
    assert as_(fixtures.ada).get(f"/comments/{comment['id']}").json() == r.json()
    (event,) = events(fixtures.acme, subject_type="comment")
    assert (event.verb, event.project_id) == ("created", fixtures.apollo.pk)
    assert event.changes["body"] == [None, TEXT]


@pytest.mark.parametrize("body", ["", "  \n", None, 5, "x" * 65_537, "a\0b"])
def test_blank_or_too_long_body_is_refused(fixtures, as_, body):
    assert say(as_(fixtures.bob), body).status_code in (400, 422)
    assert say(as_(fixtures.bob), "x" * 65_536).status_code == 201


def test_author_can_change_the_body(fixtures, as_, events):
    client = as_(fixtures.bob)
    pk = say(client).json()["id"]

    r = client.patch(f"/comments/{pk}", {"body": " y"})

    assert (r.json()["body"], r.json()["edited_at"] is None) == (" y", False)
    assert events(fixtures.acme, verb="changed")[0].changes["body"] == ["x", " y"]
    assert client.put(f"/comments/{pk}", {"body": " y"}).json() == r.json()
    assert len(events(fixtures.acme, verb="changed")) == 1


def test_other_users_cannot_change_the_body(fixtures, as_):
    pk = say(as_(fixtures.bob)).json()["id"]

    for actor in (fixtures.ada, fixtures.carl, fixtures.bot, fixtures.boss):
        assert as_(actor).patch(f"/comments/{pk}", {"body": "y"}).status_code == 403


def test_deleted_comment_can_be_restored(fixtures, as_):
    client = as_(fixtures.bob)
    pk = say(client, "x" * 100).json()["id"]

    assert as_(fixtures.bot).delete(f"/comments/{pk}").status_code == 403
    assert client.delete(f"/comments/{pk}").status_code == 204
    assert client.get(f"/comments/{pk}").status_code == 404
    (item,) = client.get("/trash?kind=comment").json()["data"]
    assert (item["id"], item["title"]) == (pk, "x" * 59 + "…")
    assert as_(fixtures.bot).post(f"/trash/comment/{pk}/restoration").status_code == 403
    assert client.post(f"/trash/comment/{pk}/restoration").status_code == 200
    assert client.get(f"/comments/{pk}").status_code == 200
    client.delete(f"/comments/{pk}")
    assert client.delete(f"/trash/comment/{pk}").status_code == 403
    assert as_(fixtures.carl).delete(f"/trash/comment/{pk}").status_code == 204


def test_comment_of_a_deleted_task_is_not_found(fixtures, as_, events):
    client = as_(fixtures.bob)
    pk = say(client).json()["id"]
    with inside(fixtures.acme):
        delete_task(fixtures.ada, fixtures.task)

    assert client.get(f"/comments/{pk}").status_code == 404
    assert client.get("/comments").json()["data"] == []
    assert [x["kind"] for x in client.get("/trash").json()["data"]] == ["task"]
    assert as_(fixtures.ada).delete(f"/trash/task/{fixtures.task.pk}").status_code == 204
    assert [e.subject_type for e in events(fixtures.acme, verb="purged")] == ["comment", "task"]


def test_comments_are_listed_in_order_and_filtered(fixtures, as_):
    with inside(fixtures.acme):
        other = create_task(fixtures.ada, fixtures.apollo, title="other")
        for n, (actor, task) in enumerate(
            [(fixtures.bob, fixtures.task), (fixtures.ada, other), (fixtures.ada, fixtures.task)]
        ):
            create_comment(actor, task, body=str(n))
    client = as_(fixtures.bob)
    client.get("/me")

    def bodies(query=""):
        return "".join(c["body"] for c in client.get(f"/comments{query}").json()["data"])

    assert bodies() == "012"
    assert bodies("?task=APO-1") == "02"
    assert bodies("?task_not=APO-1") == "1"
    assert bodies("?author=me") == "0"
    assert bodies("?author_not=me&task=APO-1&task=APO-2") == "12"
    assert client.get("/comments?task=SEC-1").status_code == 422


def test_project_of_a_non_member_is_not_found(fixtures, as_):
    pk = say(as_(fixtures.bob)).json()["id"]

    for actor in (fixtures.eve, fixtures.mallory):
        client = as_(actor)
        assert client.get(f"/comments/{pk}").status_code == 404
        assert client.get("/comments").json()["data"] == []
        assert (
            client.post("/comments", {"task_id": fixtures.task.pk, "body": "x"}).status_code == 422
        )
