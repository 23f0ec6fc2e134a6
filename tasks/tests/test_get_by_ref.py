"""GET of a task by its external_ref."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from taskflow.tenancy import inside
from tasks.changes.tasks import create_task
from tasks.tests.factories import ProjectFactory

PATH = "/projects/APO/tasks/by-ref/"


@pytest.fixture
def client(as_, fixtures):
    return as_(fixtures.bob)


@pytest.mark.parametrize("ref", ["r1", "a/b//c", "x y", "-1", "none", "%", "ü?#&", "me", "123"])
def test_task_is_found_by_the_reference_with_which_it_was_stored(client, ref):
    stored = client.put(PATH + quote(ref, safe="/"), {"title": "x"}).json()

    r = client.get(PATH + quote(ref, safe="/"))

    assert (r.status_code, r.json()) == (200, stored)
    assert stored["external_ref"] == ref
    assert r["ETag"] == client.get(f"/tasks/{stored['id']}")["ETag"]
    unchanged = client.get(PATH + quote(ref, safe="/"), headers={"If-None-Match": r["ETag"]})
    assert unchanged.status_code == 304
    assert client.head(PATH + quote(ref, safe="/")).status_code == 200


def test_comments_and_fields_can_be_selected_as_for_a_key(client):
    task = client.put(PATH + "r1", {"title": "x"}).json()
    client.post("/comments", {"task_id": task["id"], "body": "hello"})

    assert client.get(PATH + "r1?fields=id,title").json() == {"id": task["id"], "title": "x"}
    with_comments = client.get(PATH + "r1?include=comments").json()
    assert [comment["body"] for comment in with_comments["comments"]["data"]] == ["hello"]
    assert client.get(PATH + "r1?fields=nothing").status_code == 422


def test_reference_of_another_project_or_of_a_deleted_task_is_not_found(fixtures, client):
    with inside(fixtures.acme):
        other = ProjectFactory(actor=fixtures.ada, name="Other", key="OTH")
        create_task(fixtures.ada, other, title="x", external_ref="r1")
    assert client.get("/projects/OTH/tasks/by-ref/r1").status_code == 404
    assert client.get(PATH + "r1").status_code == 404

    task = client.put(PATH + "r1", {"title": "x"}).json()
    client.delete(f"/tasks/{task['id']}")

    assert client.get(PATH + "r1").status_code == 404
