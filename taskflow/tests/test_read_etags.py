"""Lists have an ETag made of their body, and answer 304 to If-None-Match."""

from __future__ import annotations

import pytest

from taskflow.tests.contract import api_document

pytestmark = pytest.mark.one_database

LISTS = [
    "/tasks",
    "/projects",
    "/comments",
    "/pages",
    "/tags",
    "/users",
    "/tokens",
    "/trash",
    "/search?q=launch",
    "/tasks/APO-1/events",
    "/projects/APO/events",
    "/projects/APO/members",
]


@pytest.fixture
def client(fixtures, as_):
    """Boss, with a row in each list."""
    client = as_(fixtures.boss)
    client.post("/comments", {"task": "APO-1", "body": "x"})
    client.post("/pages", {"project": "APO", "title": "x"})
    task = client.post("/tasks", {"project": "APO", "title": "gone", "tags": ["t"]}).json()
    client.delete(f"/tasks/{task['id']}")
    return client


@pytest.mark.parametrize("path", LISTS)
def test_list_that_the_client_has_is_not_sent_again(client, path):
    first = client.get(path)
    etag = first.headers["ETag"]

    again = client.get(path, headers={"If-None-Match": etag})

    assert first.json()["data"]
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", etag)
    assert client.get(path, headers={"If-None-Match": '"other"'}).json() == first.json()


def test_every_read_but_files_documents_its_etag():
    reads = {
        path: methods["get"]["responses"]
        for path, methods in api_document()["paths"].items()
        if "get" in methods
    }

    without = {
        path for path, r in reads.items() if "304" not in r or "ETag" not in r["200"]["headers"]
    }
    assert without == {"/api/v1/projects/{project_id}/tasks.csv"}


def test_list_gets_another_etag_when_a_row_changes(client):
    before = client.get("/tasks").headers["ETag"]
    client.patch("/tasks/APO-1", {"title": "Landing"})

    after = client.get("/tasks", headers={"If-None-Match": before})

    assert after.status_code == 200
    assert after.headers["ETag"] != before


@pytest.mark.parametrize("form", ["W/{}", '"a", {}', "*"])
def test_every_form_of_the_header_is_understood(client, form):
    etag = client.get("/tasks").headers["ETag"]

    r = client.get("/tasks", headers={"If-None-Match": form.format(etag)})

    assert r.status_code == 304


def test_head_has_the_etag_of_get(client):
    etag = client.get("/tasks").headers["ETag"]

    assert client.head("/tasks").headers["ETag"] == etag
    assert client.head("/tasks", headers={"If-None-Match": etag}).status_code == 304


def test_write_that_returns_no_object_has_no_etag(client):
    r = client.post("/projects/APO/completion")

    assert r.status_code == 200
    assert "ETag" not in r.headers


def test_etag_of_a_list_is_no_version_of_an_object(client):
    etag = client.get("/tasks").headers["ETag"]

    r = client.patch("/tasks/APO-1", {"title": "x"}, headers={"If-Match": etag})

    assert (r.status_code, r.json()["code"]) == (412, "precondition_failed")
