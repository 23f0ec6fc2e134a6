"""Writes of claimed tasks: which are refused, and which end the claim."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from taskflow.tenancy import inside
from tasks.models import Claim, Task
from tasks.tests.factories import ClaimFactory, CommentFactory, ProjectFactory, TaskFactory


@pytest.fixture
def granted(fixtures):
    """A claim of the agent, on a task with a comment of its own."""
    with inside(fixtures.acme):
        task = TaskFactory(actor=fixtures.ada, project=fixtures.apollo, title="Claimed")
        CommentFactory(actor=fixtures.bot, task=task)
        other = TaskFactory(actor=fixtures.ada, project=fixtures.apollo, external_ref="r")
        ClaimFactory(actor=fixtures.bot, project=fixtures.apollo, task=other)
        return ClaimFactory(
            actor=fixtures.bot, project=fixtures.apollo, task=task, worker="host7/3"
        )


WRITES = {
    "update": ("patch", "/tasks/{task}", {"title": "x"}),
    "complete": ("post", "/tasks/{task}/completion", None),
    "assign": ("post", "/tasks/{task}/assignment", {"assignee": "@bob"}),
    "unassign": ("delete", "/tasks/{task}/assignment", None),
    "delete": ("delete", "/tasks/{task}", None),
    "comment": ("post", "/comments", {"task_id": "task", "body": "x"}),
    "change comment": ("patch", "/comments/{comment}", {"body": "y"}),
    "delete comment": ("delete", "/comments/{comment}", None),
    "bulk by id": ("post", "/tasks/bulk", {"operations": [{"op": "complete", "id": "task"}]}),
    "bulk by where": (
        "post",
        "/tasks/bulk",
        {
            "operations": [
                {"op": "tag", "where": {"project": ["APO"]}, "data": {"tags": ["x"]}},
            ],
        },
    ),
    "tag": (
        "post",
        "/tasks/bulk",
        {"operations": [{"op": "tag", "id": "task", "data": {"tags": ["x"]}}]},
    ),
    "by-ref": ("put", "/projects/APO/tasks/by-ref/r", {"title": "x"}),
    "complete project": ("post", "/projects/APO/completion", None),
    "undo": ("post", "/undo", {"request_id": "edit", "actor": "@ada"}),
}


def send(client, claim, name, **headers):
    method, path, body = WRITES[name]
    with inside(claim.tenant_id):
        comment = claim.task.comments.first()
    ids = {"task": claim.task_id, "comment": comment.pk}
    return getattr(client, method)(path.format(**ids), filled(body, ids), headers=headers)


def filled(value, ids):
    if isinstance(value, dict):
        return {k: filled(v, ids) for k, v in value.items()}
    if isinstance(value, list):
        return [filled(v, ids) for v in value]
    return ids.get(value, value) if isinstance(value, str) else value


@pytest.fixture
def edited(fixtures, as_, granted):
    """A change of the task by a person, which can be undone."""
    as_(fixtures.ada).patch(
        f"/tasks/{granted.task_id}", {"priority": "high"}, headers={"X-Request-Id": "edit"}
    )
    return granted


@pytest.mark.parametrize("name", WRITES)
def test_write_of_an_agent_without_the_claim_is_refused(fixtures, as_, edited, name):
    r = send(as_(fixtures.bot), edited, name)

    assert (r.status_code, r.json()["code"]) == (409, "claimed"), r.content
    error = r.json()["errors"][0]
    assert error["holder"] == "@bot"
    assert error["since"] < error["expires_at"]
    assert "Claim" in r.json()["detail"]


@pytest.mark.parametrize(
    "name", sorted(WRITES.keys() - {"by-ref", "complete project", "bulk by where"})
)
def test_write_of_the_holder_with_the_claim_is_allowed(fixtures, as_, edited, name):
    r = send(as_(fixtures.bot), edited, name, Claim=str(edited.pk))

    assert r.status_code < 300, r.content


@pytest.mark.parametrize("name", WRITES)
def test_write_of_a_person_is_allowed(fixtures, as_, edited, name):
    author = fixtures.boss if "comment" in name else fixtures.ada
    r = send(as_(author), edited, name)

    assert r.status_code < 300 or name == "change comment", r.content


def test_bulk_request_of_an_agent_names_every_claimed_task(fixtures, as_, granted):
    r = send(as_(fixtures.bot), granted, "bulk by where", Claim=str(granted.pk))

    with inside(fixtures.acme):
        (other,) = Task.objects.filter(external_ref="r").values_list("pk", flat=True)
        assert not Task.objects.filter(tags__name="x").exists()
    assert [error["task_id"] for error in r.json()["errors"]] == [other]


def test_operations_on_claimed_tasks_are_skipped_with_on_error_skip(fixtures, as_, granted):
    with inside(fixtures.acme):
        parent = TaskFactory(actor=fixtures.ada, project=fixtures.apollo, title="Parent")
        held = TaskFactory(actor=fixtures.ada, project=fixtures.apollo, parent=parent)
        ClaimFactory(actor=fixtures.bot, project=fixtures.apollo, task=held)
        free = TaskFactory(actor=fixtures.ada, project=fixtures.apollo)
    operations = [
        {"op": "complete", "id": parent.pk},
        {"op": "complete", "id": held.pk},
        {"op": "delete", "id": parent.pk},
        {"op": "complete", "id": free.pk},
        {"op": "tag", "id": granted.task_id, "data": {"tags": ["x"]}},
        {"op": "update", "id": held.pk, "data": {"blocked_by": [free.pk]}},
    ]

    r = as_(fixtures.bot).post(
        "/tasks/bulk",
        {"operations": operations, "on_error": "skip"},
        headers={"Claim": str(granted.pk)},
    )

    assert r.status_code == 200, r.content
    codes = [x["problem"] and x["problem"]["code"] for x in r.json()["results"]]
    assert codes == ["open_work", "claimed", "claimed", None, None, "claimed"]
    error = r.json()["results"][2]["problem"]["errors"][0]
    assert (error["pointer"], error["task_id"]) == ("#/operations/2", held.pk)
    assert error["holder"] == "@bot"


def test_operation_that_changes_nothing_on_a_claimed_task_is_not_skipped(fixtures, as_, granted):
    with inside(fixtures.acme):
        blocker = TaskFactory(actor=fixtures.ada, project=fixtures.apollo)
    values = {"tags": ["x"], "blocked_by": [blocker.pk]}
    as_(fixtures.ada).patch(f"/tasks/{granted.task_id}", values)
    task = {"id": granted.task_id}
    operations = [
        {"op": "tag", **task, "data": {"tags": ["x"]}},
        {"op": "update", **task, "data": values | {"title": "Claimed"}},
        {"op": "assign", **task, "data": {"assignee": "@bot"}},
    ]

    for on_error in ("skip", "refuse"):
        body = {"operations": operations, "on_error": on_error}
        r = as_(fixtures.bot).post("/tasks/bulk", body)
        assert (r.status_code, r.json()["succeeded"]) == (200, 3), r.content


def test_number_of_skipped_claimed_tasks_does_not_change_the_number_of_statements(fixtures, as_):
    operations = []
    with inside(fixtures.acme):
        for _ in range(4):
            task = TaskFactory(actor=fixtures.ada, project=fixtures.apollo)
            ClaimFactory(actor=fixtures.bot, project=fixtures.apollo, task=task)
            operations.append({"op": "tag", "id": task.pk, "data": {"tags": ["x"]}})
    client, counts = as_(fixtures.bot), []

    for number in (1, 1, 4):
        with CaptureQueriesContext(connection) as captured:
            body = {"operations": operations[:number], "on_error": "skip"}
            assert client.post("/tasks/bulk", body).json()["skipped"] == number
        counts.append(len(captured))

    assert counts[1] == counts[2]


def test_write_to_another_task_needs_no_claim(fixtures, as_, granted):
    r = as_(fixtures.bot).patch("/tasks/APO-1", {"priority": "low"})

    assert r.status_code == 200


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [("x", 400, "bad_claim"), ("0", 400, "bad_claim"), ("999999", 409, "claim_lost")],
)
def test_header_that_names_no_claim_is_refused(fixtures, as_, granted, sent, status, code):
    r = as_(fixtures.bot).patch("/tasks/APO-1", {"priority": "low"}, headers={"Claim": sent})

    assert (r.status_code, r.json()["code"]) == (status, code)


def test_claim_of_another_user_is_no_right(fixtures, as_, granted):
    with inside(fixtures.acme):
        task = TaskFactory(actor=fixtures.ada, project=fixtures.apollo)
        own = ClaimFactory(actor=fixtures.bob, project=fixtures.apollo, task=task)

    r = as_(fixtures.bot).patch(f"/tasks/{task.pk}", {"title": "x"}, headers={"Claim": str(own.pk)})

    assert (r.status_code, r.json()["code"]) == (409, "claim_lost")


# ---- what ends a claim --------------------------------------------------------------------------


def end_of(fixtures, claim):
    with inside(fixtures.acme):
        row = Claim.objects.get(pk=claim.pk)
        task = Task.everything.get(pk=claim.task_id)
        assert (task.claim_id is None) == (row.ended_at is not None)
        return row.end


ENDING = ["complete", "assign", "unassign", "delete", "bulk by id", "complete project"]


@pytest.mark.parametrize("name", ENDING)
def test_edit_of_a_person_that_takes_the_task_away_ends_the_claim(fixtures, as_, granted, name):
    assert send(as_(fixtures.ada), granted, name).status_code < 300

    assert end_of(fixtures, granted) == "superseded"
    lost = as_(fixtures.bot).patch(f"/claims/{granted.pk}", {})
    assert (lost.status_code, lost.json()["code"]) == (409, "claim_lost")


@pytest.mark.parametrize("name", ["update", "comment", "tag"])
def test_other_edits_of_a_person_keep_the_claim(fixtures, as_, granted, name):
    assert send(as_(fixtures.ada), granted, name).status_code < 300

    assert end_of(fixtures, granted) is None
    assert as_(fixtures.bot).patch(f"/claims/{granted.pk}", {}).status_code == 200


def test_moving_the_task_ends_the_claim(fixtures, as_, granted):
    with inside(fixtures.acme):
        ProjectFactory(actor=fixtures.ada, name="Other", key="OTH")

    r = as_(fixtures.ada).post(f"/tasks/{granted.task_id}/move", {"project": "OTH"})

    assert r.status_code == 200
    assert end_of(fixtures, granted) == "superseded"


def test_undo_of_the_claim_gives_the_task_back_and_ends_the_claim(fixtures, as_, granted):
    event = as_(fixtures.ada).get(f"/tasks/{granted.task_id}/events").json()["data"][0]
    assert event["verb"] == "task.claimed"

    r = as_(fixtures.ada).post("/undo", {"event_ids": [event["id"]]})

    assert r.status_code == 200, r.content
    assert end_of(fixtures, granted) == "superseded"
    with inside(fixtures.acme):
        task = Task.objects.get(pk=granted.task_id)
    assert (task.status, task.assignee_id) == ("todo", None)


@pytest.mark.parametrize("change", ["delete", "archive"])
def test_closing_the_project_ends_its_claims(fixtures, as_, granted, change):
    ada = as_(fixtures.ada)
    r = (
        ada.delete("/projects/APO")
        if change == "delete"
        else ada.patch("/projects/APO", {"status": "archived"})
    )

    assert r.status_code < 300
    assert end_of(fixtures, granted) == "superseded"


def test_offboarding_the_user_frees_the_task(fixtures, as_, granted):
    as_(fixtures.boss).post(f"/users/{fixtures.bot.user.pk}/offboarding", {})

    assert end_of(fixtures, granted) == "superseded"
    assert as_(fixtures.bob).post("/claims", {"task": granted.task_id}).status_code == 201


def test_deactivating_the_user_frees_the_task(fixtures, as_, granted):
    as_(fixtures.boss).patch(f"/users/{fixtures.bot.user.pk}", {"is_active": False})

    listed = as_(fixtures.bob).get("/claims?open=true").json()["data"]
    assert listed == []
    assert as_(fixtures.bob).post("/claims", {"task": granted.task_id}).status_code == 201
    with inside(fixtures.acme):
        assert Claim.objects.get(pk=granted.pk).end == "expired"


def test_broken_claim_gives_the_task_back(fixtures, as_, granted):
    assert as_(fixtures.carl).delete(f"/claims/{granted.pk}").status_code == 204

    assert end_of(fixtures, granted) == "broken"
    events = as_(fixtures.ada).get(f"/tasks/{granted.task_id}/events").json()["data"]
    assert events[0]["verb"] == "task.claim_broken"


def test_list_filters_by_task_user_and_state(fixtures, as_, granted):
    ada = as_(fixtures.ada)
    ada.post(f"/tasks/{granted.task_id}/completion")
    lists = {
        query: [row["task_id"] for row in ada.get(f"/claims?{query}").json()["data"]]
        for query in (f"task={granted.task_id}", "user=@bob", "open=false", "user=@bot&open=true")
    }

    assert lists[f"task={granted.task_id}"] == lists["open=false"] == [granted.task_id]
    assert lists["user=@bob"] == []
    assert granted.task_id not in lists["user=@bot&open=true"]


# ---- other channels ------------------------------------------------------------------------------


@pytest.mark.parametrize(("is_sent", "status"), [(False, 409), (True, 200)])
def test_plan_of_a_write_shows_whether_the_claim_allows_it(fixtures, as_, granted, is_sent, status):
    path = f"/api/v1/tasks/{granted.task_id}"
    headers = {"Claim": str(granted.pk)} if is_sent else {}

    r = as_(fixtures.bot).post(
        "/plans", {"method": "PATCH", "path": path, "body": {"title": "x"}}, headers=headers
    )

    assert (r.status_code, r.json()["status"]) == (200, status)
    assert r.json()["event_count"] == (1 if is_sent else 0)
    with inside(fixtures.acme):
        assert Task.objects.get(pk=granted.task_id).title == "Claimed"


def load_csv(client, granted, **headers):
    return client.generic(
        "POST",
        "/projects/APO/tasks.csv?on_existing=update",
        f"key,title\n{granted.task.key},From a file\n",
        content_type="text/csv",
        headers=headers,
    )


def test_import_of_an_agent_over_a_claimed_task_needs_the_claim(fixtures, as_, granted):
    bot = as_(fixtures.bot)

    refused = load_csv(bot, granted)
    allowed = load_csv(bot, granted, Claim=str(granted.pk))

    assert (refused.status_code, refused.json()["code"]) == (422, "bad_rows"), refused.content
    assert refused.json()["errors"][0]["code"] == "claimed"
    assert (allowed.status_code, allowed.json()["updated"]) == (200, 1), allowed.content


def test_import_of_a_person_over_a_claimed_task_keeps_the_claim(fixtures, as_, granted):
    r = load_csv(as_(fixtures.ada), granted)

    assert (r.status_code, r.json()["updated"]) == (200, 1), r.content
    with inside(fixtures.acme):
        assert Claim.objects.get(pk=granted.pk).ended_at is None
