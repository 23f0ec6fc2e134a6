"""`Prefer: return=minimal`: writes that answer without the object."""

from __future__ import annotations

import pytest
from django.db import connection

from taskflow.http.preferences import MINIMAL_MEDIA_TYPE
from taskflow.tenancy import inside
from taskflow.tests.contract import api_document
from tasks.models import Task

pytestmark = pytest.mark.one_database

MINIMAL = {"Prefer": "return=minimal"}
# By operation: method, path, body, and where the object can be read. `{new}` is the new object.
WRITES = {
    "create_task": ("post", "/tasks", {"project": "APO", "title": "x"}, "/tasks/{new}"),
    "update_task": ("patch", "/tasks/APO-1", {"title": "x", "tags": ["new"]}, "/tasks/APO-1"),
    "put_task": ("put", "/tasks/APO-1", {"title": "x"}, "/tasks/APO-1"),
    "upsert_task": ("put", "/projects/APO/tasks/by-ref/r", {"title": "x"}, "/tasks/{new}"),
    "complete_task": ("post", "/tasks/APO-1/completion", None, "/tasks/APO-1"),
    "reopen_task": ("delete", "/tasks/APO-2/completion", None, "/tasks/APO-2"),
    "assign_task": ("post", "/tasks/APO-1/assignment", {"assignee": "@bob"}, "/tasks/APO-1"),
    "unassign_task": ("delete", "/tasks/APO-1/assignment", None, "/tasks/APO-1"),
    "move_task": ("post", "/tasks/APO-1/move", {"project": "OTH"}, "/tasks/APO-1"),
    "create_project": ("post", "/projects", {"name": "N", "tasks": [{"title": "x"}]}, "/projects/{new}"),
    "update_project": ("patch", "/projects/APO", {"name": "N"}, "/projects/APO"),
    "put_project": ("put", "/projects/APO", {"name": "N"}, "/projects/APO"),
    "create_comment": ("post", "/comments", {"task": "APO-1", "body": "x"}, "/comments/{new}"),
    "update_comment": ("patch", "/comments/{comment}", {"body": "x"}, "/comments/{comment}"),
    "put_comment": ("put", "/comments/{comment}", {"body": "x"}, "/comments/{comment}"),
    "create_page": ("post", "/pages", {"project": "APO", "title": "x"}, "/pages/{new}"),
    "update_page": ("patch", "/pages/{page}", {"title": "x"}, "/pages/{page}"),
    "put_page": ("put", "/pages/{page}", {"title": "x"}, "/pages/{page}"),
    "publish_page": ("post", "/pages/{page}/publication", None, "/pages/{page}"),
    "unpublish_page": ("delete", "/pages/{page}/publication", None, "/pages/{page}"),
}  # fmt: skip


@pytest.fixture
def client(fixtures, as_):
    """Ada, with a done task APO-2 and the project OTH."""
    client = as_(fixtures.ada)
    client.post("/projects", {"name": "Other", "key": "OTH"})
    client.post("/tasks", {"project": "APO", "title": "done", "status": "done"})
    return client


@pytest.fixture
def ids(client):
    """A comment and a published page of Ada."""
    page = client.post("/pages", {"project": "APO", "title": "p", "is_published": True})
    comment = client.post("/comments", {"task": "APO-1", "body": "c"})
    return {"page": page.json()["id"], "comment": comment.json()["id"]}


def send(client, name, ids, query="", **headers):
    method, path, body, _read = WRITES[name]
    sent = {"headers": MINIMAL | headers}
    return getattr(client, method)(path.format(**ids) + query, body, **sent)


def test_every_write_that_documents_the_preference_is_tested():
    documented = {
        operation["operationId"]
        for methods in api_document()["paths"].values()
        for operation in methods.values()
        if (
            "204" in operation["responses"]
            and "return=minimal" in operation["responses"]["204"]["description"]
        )
        or MINIMAL_MEDIA_TYPE in operation["responses"].get("201", {}).get("content", {})
    }

    assert documented == WRITES.keys()


@pytest.mark.parametrize("name", WRITES)
def test_answer_has_the_version_and_not_the_object(client, ids, name):
    r = send(client, name, ids)

    assert r.headers["Preference-Applied"] == "return=minimal"
    new = None
    if r.status_code == 201:
        assert r.headers["Content-Type"].startswith(MINIMAL_MEDIA_TYPE)
        new = r.json()["id"]
        location = r.headers["Location"]
    else:
        assert (r.status_code, r.content) == (204, b"")
    read = WRITES[name][3].format(new=new, **ids)
    row = client.get(read)
    kind, pk, version = r.headers["ETag"].strip('"').split("-")
    assert (int(pk), int(version)) == (row.json()["id"], row.json()["version"])
    assert kind == read.split("/")[1].removesuffix("s")
    if new is not None:
        assert location == f"/api/v1{read}"
        expected = {"id": new, "key": row.json().get("key"), "version": row.json()["version"]}
        assert r.json() == expected


def test_change_of_nothing_answers_the_present_version(client):
    etag = send(client, "update_task", {}).headers["ETag"]

    again = send(client, "update_task", {})

    assert (again.status_code, again.headers["ETag"]) == (204, etag)


def test_etag_of_the_answer_is_a_precondition(client):
    etag = send(client, "update_task", {}).headers["ETag"]

    good = client.patch("/tasks/APO-1", {"title": "y"}, headers={"If-Match": etag})
    late = client.patch("/tasks/APO-1", {"title": "z"}, headers={"If-Match": etag})

    assert (good.status_code, late.status_code) == (200, 412)


def test_etag_of_the_answer_never_hides_a_change_of_related_rows(client):
    etag = send(client, "update_task", {}).headers["ETag"]

    assert client.get("/tasks/APO-1", headers={"If-None-Match": etag}).status_code == 200


@pytest.mark.parametrize("name", ["create_task", "update_task"])
def test_dry_run_answers_the_same_without_etag_and_changes_nothing(fixtures, client, name):
    r = send(client, name, {}, "?dry_run=true")

    assert r.status_code == (201 if name == "create_task" else 204)
    assert r.headers["Dry-Run"] == "true"
    assert r.headers["Preference-Applied"] == "return=minimal"
    assert not {"ETag", "Location"} & r.headers.keys()
    with inside(fixtures.acme):
        assert not Task.objects.filter(title="x").exists()


def test_plan_answers_what_the_write_would_answer(client):
    _method, path, body, _read = WRITES["create_task"]
    created = client.plan("post", path, body, headers=MINIMAL)
    changed = client.plan("patch", "/tasks/APO-1", {"title": "x"}, headers=MINIMAL)

    assert (created["status"], created["result"].keys()) == (201, {"id", "key", "version"})
    assert (changed["status"], changed["result"], changed["event_count"]) == (204, None, 1)


@pytest.mark.parametrize("name", ["create_task", "update_task"])
@pytest.mark.parametrize("prefer", [{}, MINIMAL, {"Prefer": "return=representation"}])
def test_retry_gets_the_first_answer_whatever_it_prefers(client, name, prefer):
    first = send(client, name, {}, **{"Idempotency-Key": "k"})

    again = send(client, name, {}, **{"Idempotency-Key": "k", "Prefer": ""} | prefer)

    assert again.headers["Idempotency-Replayed"] == "true"
    assert (again.status_code, again.content) == (first.status_code, first.content)
    for header in ("ETag", "Location", "Preference-Applied", "Content-Type"):
        assert again.headers.get(header) == first.headers.get(header)


# PostgreSQL takes the number of a new task in the statement that inserts it.
CREATE_STATEMENTS = 6 if connection.vendor == "postgresql" else 7


@pytest.mark.parametrize(
    ("name", "statements"), [("create_task", CREATE_STATEMENTS), ("put_task", 5)]
)
def test_answer_saves_the_query_of_the_object(client, assert_statements, name, statements):
    with assert_statements(statements):
        send(client, name, {})


def test_refused_write_answers_its_problem(client):
    r = client.patch("/tasks/APO-1", {"title": ""}, headers=MINIMAL)

    assert (r.status_code, r.json()["code"]) == (422, "validation_failed")
    assert "Preference-Applied" not in r.headers


@pytest.mark.slow
def test_bulk_results_have_ids_only(client, assert_statements):
    operations = [{"op": "create", "data": {"project": "APO", "title": f"{n}"}} for n in range(100)]
    operations.append({"op": "complete", "id": "APO-1"})

    r = client.post("/tasks/bulk", {"operations": operations}, headers=MINIMAL)

    assert (r.status_code, r.headers["Preference-Applied"]) == (200, "return=minimal")
    results = r.json()["results"]
    assert [result["index"] for result in results] == list(range(101))
    assert all(result["id"] and result["ok"] and result["task"] is None for result in results)
    assert len(r.content) < 101 * 90
    again = client.post("/tasks/bulk", {"operations": operations}).json()
    assert again["results"][0]["task"]["title"] == "0"


def test_bulk_result_of_a_refused_operation_has_its_problem(client):
    operations = [{"op": "complete", "id": "APO-1"}, {"op": "delete", "id": "APO-99"}]
    body = {"operations": operations, "on_error": "skip"}

    good, bad = client.post("/tasks/bulk", body, headers=MINIMAL).json()["results"]

    assert (good["ok"], good["task"]) == (True, None)
    assert (bad["ok"], bad["problem"]["code"]) == (False, "not_found")


def test_answers_without_the_preference_are_complete(client):
    for headers in ({}, {"Prefer": "respond-async"}, {"Prefer": "return=representation"}):
        r = client.patch("/tasks/APO-1", {"title": "x"}, headers=headers)
        assert (r.status_code, r.json()["title"]) == (200, "x")
        assert "Preference-Applied" not in r.headers
