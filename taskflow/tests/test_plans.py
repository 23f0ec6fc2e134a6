"""A plan answers what a write would answer and record, and changes nothing."""

from __future__ import annotations

import pytest

from accounts.models import IdempotencyRecord
from taskflow.tenancy import inside
from taskflow.tests.test_dry_run import exported
from tasks.models import Task

pytestmark = pytest.mark.one_database


def test_plan_returns_status_result_and_events_and_changes_nothing(fixtures, as_):
    client = as_(fixtures.ada)
    client.get("/me")  # stores the last use of the token
    before = exported(fixtures.acme)

    plan = client.plan("post", "/tasks", {"project": "APO", "title": "x", "tags": ["new"]})

    assert (plan["status"], plan["result"]["key"], plan["event_count"]) == (201, "APO-2", 2)
    assert [e["verb"] for e in plan["events"]] == ["tag.created", "task.created"]
    assert plan["events"][1]["sentence"] == "Ada (@ada) created the task “x”"
    assert plan["events"][1]["subject"]["type"] == "task"
    assert plan["events"][1]["changes"]["title"] == [None, "x"]
    assert exported(fixtures.acme) == before


def test_plan_of_a_deletion_reports_what_goes_along(fixtures, as_):
    client = as_(fixtures.ada)
    client.post("/comments", {"task": "APO-1", "body": "c"})

    plain = client.plan("delete", "/tasks/APO-1")
    counted = client.plan("delete", "/tasks/APO-1", headers={"Prefer": "return=representation"})

    assert (plain["status"], plain["result"]) == (204, None)
    assert counted["result"]["deleted"] == {"projects": 0, "tasks": 1, "comments": 1, "pages": 0}
    assert [e["verb"] for e in plain["events"]] == ["task.deleted"]
    assert client.get("/tasks/APO-1").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("patch", "/tasks/APO-1", {"titel": "x"}, 422, "validation_failed"),
        ("patch", "/tasks/APO-99", {"title": "x"}, 404, "not_found"),
        ("patch", "/users/1", {"full_name": "x"}, 403, "forbidden"),
        ("post", "/tasks/APO-1/completion", None, 409, "open_work"),
        ("patch", "/tasks", {"title": "x"}, 405, "method_not_allowed"),
        ("delete", "/tasks/APO-1?x=1", None, 422, "invalid"),
    ],
)
def test_plan_of_a_refused_request_has_its_problem_and_no_events(
    fixtures, as_, method, path, body, status, code
):
    client = as_(fixtures.ada)
    client.post("/tasks", {"project": "APO", "title": "x", "parent": "APO-1"})

    plan = client.plan(method, path, body)

    assert (plan["status"], plan["result"]["code"], plan["events"]) == (status, code, [])


def test_request_refused_after_it_has_written_leaves_no_events(fixtures, as_):
    client = as_(fixtures.ada)
    client.patch("/tasks/APO-1", {"external_ref": "taken"})

    plan = client.plan(
        "post", "/tasks", {"project": "APO", "title": "x", "tags": ["a"], "external_ref": "taken"}
    )

    assert (plan["status"], plan["event_count"], plan["events"]) == (409, 0, [])


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/api/v1/plans", "invalid"),
        ("/api/v1/plans?x=1", "invalid"),
        ("/api/v1/auth/login", "invalid"),
        ("/api/v1/auth/password-resets", "invalid"),
        ("/admin/", "wrong_format"),
        ("tasks/APO-1", "wrong_format"),
        ("https://example.com/api/v1/tasks", "wrong_format"),
        ("/api/v1/tasks/%00", "wrong_format"),
        ("/api/v1/nothing", "not_found"),
        ("", "too_short"),
    ],
)
def test_path_that_cannot_be_planned_is_refused(fixtures, as_, path, code):
    r = as_(fixtures.ada).post("/plans", {"method": "POST", "path": path})

    (error,) = r.json()["errors"]
    assert (r.status_code, error["pointer"], error["code"]) == (422, "#/path", code)


def test_plan_of_a_dry_run_lists_its_events(fixtures, as_):
    plan = as_(fixtures.ada).plan("patch", "/tasks/APO-1", {"title": "New", "dry_run": True})

    assert (plan["status"], plan["event_count"]) == (200, 1)


def test_read_cannot_be_planned(fixtures, as_):
    r = as_(fixtures.ada).post("/plans", {"method": "GET", "path": "/api/v1/tasks"})

    assert (r.status_code, r.json()["errors"][0]["code"]) == (422, "unknown_value")


def test_token_that_can_only_read_gets_the_refusal_as_the_plan(fixtures, as_):
    plan = as_(fixtures.ada, "read").plan("delete", "/tasks/APO-1")

    assert (plan["status"], plan["result"]["code"]) == (403, "insufficient_scope")


def test_plan_without_a_token_is_refused(client):
    planned = {"method": "DELETE", "path": "/api/v1/tasks/APO-1"}
    r = client.post("/api/v1/plans", planned, content_type="application/json")

    assert r.status_code == 401


def test_idempotency_key_of_a_plan_is_not_stored(fixtures, as_):
    client, headers = as_(fixtures.ada), {"Idempotency-Key": "k"}

    client.plan("patch", "/tasks/APO-1", {"title": "New"}, headers=headers)
    r = client.patch("/tasks/APO-1", {"title": "New"}, headers=headers)

    assert (r.status_code, "Idempotency-Replayed" in r.headers) == (200, False)
    with inside(fixtures.acme):
        assert IdempotencyRecord.objects.count() == 1


def test_plan_of_an_outdated_if_match_has_the_refusal(fixtures, as_):
    client = as_(fixtures.ada)
    outdated = client.get("/tasks/APO-1").headers["ETag"]
    client.patch("/tasks/APO-1", {"title": "A"})

    plan = client.plan("patch", "/tasks/APO-1", {"title": "B"}, headers={"If-Match": outdated})

    assert (plan["status"], plan["result"]["code"]) == (412, "changed_since")


def test_plan_of_a_csv_file_lists_its_tasks(fixtures, as_):
    plan = as_(fixtures.ada).plan("post", "/projects/APO/tasks.csv", "title\nx\n")

    assert (plan["status"], plan["result"]["created"]) == (200, 1)
    with inside(fixtures.acme):
        assert Task.objects.count() == 1
