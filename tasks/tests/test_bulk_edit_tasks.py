"""Bulk requests: many operations on tasks, all or nothing unless `on_error` is `skip`."""

from __future__ import annotations

import pytest

from taskflow.tenancy import inside
from tasks.actions.members import add_member
from tasks.actions.projects import create_project
from tasks.actions.tags import create_tag
from tasks.changes.tasks import create_task
from tasks.models import Tag, Task


def bulk(client, *operations, **more):
    return client.post("/tasks/bulk", {"operations": list(operations)} | more)


def new(fixtures, **data):
    return {"op": "create", "data": {"project_id": fixtures.apollo.pk, "title": "x"} | data}


@pytest.fixture
def tasks(fixtures):
    with inside(fixtures.acme):
        return [create_task(fixtures.ada, fixtures.apollo, title=f"t{n}") for n in range(4)]


def test_each_operation_is_carried_out_and_recorded(fixtures, as_, events, tasks):
    with inside(fixtures.acme):
        other = create_project(fixtures.ada, name="Other", key="OTH")
        add_member(fixtures.ada, other, user=fixtures.bob.user)
    a, b, c, d = (t.pk for t in tasks)

    r = bulk(
        as_(fixtures.bob),
        {"op": "complete", "id": a},
        new(fixtures, title="new", tags=["hot"], blocked_by=[a]),
        {"op": "update", "id": "APO-1", "data": {"title": "T", "due_on": "2026-12-01"}},
        {"op": "assign", "id": "apo-1", "data": {"assignee_id": fixtures.bot.user.pk}},
        {"op": "reopen", "id": a},
        {"op": "move", "id": b, "data": {"project_id": other.pk}},
        {"op": "tag", "id": c, "data": {"tags": ["HOT", "cold"]}},
        {"op": "untag", "id": c, "data": {"tags": ["hot", "unknown"]}},
        {"op": "delete", "id": d},
    )

    assert r.status_code == 200, r.json()
    body = r.json()
    assert (body["succeeded"], body["skipped"]) == (9, 0)
    results = body["results"]
    assert [(x["index"], x["ok"], x["problem"]) for x in results] == [
        (n, True, None) for n in range(9)
    ]
    shown = [x["task"] for x in results]
    assert (shown[0], shown[4]["status"]) == (None, "todo"), "once, as it is at the end"
    assert (shown[1]["title"], shown[1]["blocked_by"]) == ("new", [a])
    assert (shown[2], shown[3]["title"], shown[3]["assignee"]["handle"]) == (None, "T", "bot")
    assert shown[5]["key"] == "OTH-1"
    assert [t["name"] for t in shown[7]["tags"]] == ["cold"]
    assert (shown[8], results[8]["id"]) == (None, d)
    verbs = [
        e.verb for e in events(fixtures.acme, subject_type="task", request_id=r["X-Request-Id"])
    ]
    assert sorted(verbs) == sorted(
        ["created", "completed", "changed", "assigned", "reopened", "moved", "deleted"]
        + ["changed"] * 2
    )


def test_each_operation_sees_the_result_of_those_before_it(fixtures, as_, tasks):
    a, b = tasks[0].pk, tasks[1].pk
    client = as_(fixtures.bob)

    r = bulk(
        client,
        {"op": "update", "id": a, "data": {"due_on": "2026-12-01"}},
        {"op": "update", "id": a, "data": {"due_date": "2026-12-01T00:00:00Z"}},
    )
    assert r.json()["errors"][0]["pointer"] == "#/operations/1/data/due_on"
    r = bulk(client, {"op": "delete", "id": a}, {"op": "complete", "id": a})
    assert (r.status_code, r.json()["errors"][0]["pointer"]) == (404, "#/operations/1")
    r = bulk(
        client,
        {"op": "update", "id": a, "data": {"blocked_by": [b]}},
        {"op": "update", "id": b, "data": {"blocked_by": [a]}},
    )
    assert (r.status_code, r.json()["code"]) == (409, "cycle")
    r = bulk(client, new(fixtures, external_ref="r"), new(fixtures, external_ref="r"))
    assert (r.status_code, r.json()["code"]) == (409, "taken")


def test_one_refused_operation_prevents_all_changes(fixtures, as_, events, tasks):
    client = as_(fixtures.bob)
    before = len(events(fixtures.acme))

    r = bulk(
        client,
        {"op": "complete", "id": tasks[0].pk},
        new(fixtures, title=""),
        {"op": "complete", "id": fixtures.secret_task.pk},
        {"op": "assign", "id": tasks[1].pk, "data": {"assignee_id": fixtures.eve.user.pk}},
        {"op": "explode", "id": 1},
        {"op": "complete"},
        {"op": "update", "id": tasks[0].pk, "data": {"parent_id": fixtures.secret_task.pk}},
    )

    assert [e["pointer"] for e in r.json()["errors"]] == [
        "#/operations/1/data/title",
        "#/operations/2/id",
        "#/operations/3/data/assignee_id",
        "#/operations/4/op",
        "#/operations/5",
        "#/operations/6/data/parent_id",
    ]
    assert r.status_code == 422
    assert len(events(fixtures.acme)) == before


def test_refused_operation_is_skipped_with_on_error_skip(fixtures, as_, tasks):
    client = as_(fixtures.bob)

    r = bulk(
        client,
        {"op": "complete", "id": tasks[0].pk},
        new(fixtures, title=""),
        new(fixtures, title="made", external_ref="r"),
        new(fixtures, title="twice", external_ref="r"),
        {"op": "complete", "id": 10**9},
        {"op": "assign", "id": tasks[1].pk, "data": {"assignee_id": fixtures.eve.user.pk}},
        on_error="skip",
    )

    body = r.json()
    assert (r.status_code, body["succeeded"], body["skipped"]) == (200, 2, 4)
    assert [x["ok"] for x in body["results"]] == [True, False, True, False, False, False]
    assert [x["problem"] and x["problem"]["code"] for x in body["results"]] == [
        None,
        "validation_failed",
        None,
        "taken",
        "not_found",
        "invalid",
    ]
    keys = [x["key"] for x in body["results"]]
    assert keys == [tasks[0].key, None, "APO-6", None, None, tasks[1].key]
    problem = body["results"][5]["problem"]
    assert problem["status"] == 422
    assert problem["errors"][0]["pointer"] == "#/operations/5/data/assignee_id"
    with inside(fixtures.acme):
        assert Task.objects.filter(status="done").count() == 1
        assert Task.objects.filter(external_ref="r").get().title == "made"


def test_skipped_operations_create_no_tags(fixtures, as_, events, tasks):
    with inside(fixtures.acme):
        create_tag(fixtures.bob, name="known")
    tag = {"op": "tag", "id": tasks[0].pk, "data": {"tags": ["Both", "used", "known"]}}
    refused = {"op": "update", "id": tasks[1].pk, "data": {
        "assignee_id": fixtures.eve.user.pk, "tags": ["both", "unused", "known"]}}  # fmt: skip

    r = bulk(
        as_(fixtures.bob),
        tag,
        refused,
        new(fixtures, title="made", external_ref="r", tags=["of a new one"]),
        new(fixtures, title="twice", external_ref="r", tags=["of a refused one"]),
        {"op": "untag", "id": tasks[0].pk, "data": {"tags": ["used"]}},
        on_error="skip",
    )

    assert [x["ok"] for x in r.json()["results"]] == [True, False, True, False, True]
    assert [tag["name"] for tag in r.json()["results"][4]["task"]["tags"]] == ["Both", "known"]
    with inside(fixtures.acme):
        names = set(Tag.objects.values_list("name", flat=True))
    assert names >= {"Both", "used", "known", "of a new one"}
    assert not names & {"unused", "of a refused one"}
    recorded = [event for event in events(fixtures.acme) if event.subject_type == "tag"]
    assert len(recorded) == len(names)


@pytest.mark.parametrize("on_error", ["refuse", "skip"])
@pytest.mark.parametrize("name", ["assignee", "assignee_id"])
def test_pointer_of_a_refused_operation_is_the_name_that_was_sent(
    fixtures, as_, tasks, on_error, name
):
    data = {name: fixtures.eve.user.pk}

    r = bulk(
        as_(fixtures.bob), {"op": "assign", "id": tasks[0].pk, "data": data}, on_error=on_error
    )

    refused = r.json() if on_error == "refuse" else r.json()["results"][0]["problem"]
    assert refused["errors"][0]["pointer"] == f"#/operations/0/data/{name}"


def test_refused_tasks_use_no_numbers(fixtures, as_):
    client = as_(fixtures.bob)

    bulk(client, new(fixtures, title=""), new(fixtures), on_error="skip")

    assert bulk(client, new(fixtures)).json()["results"][0]["task"]["number"] == 3


def test_task_and_subtasks_can_be_completed_in_any_order(fixtures, as_, tasks):
    a, b = tasks[:2]
    with inside(fixtures.acme):
        child = create_task(fixtures.ada, fixtures.apollo, title="child", parent=a, blocked_by=[b])
    client = as_(fixtures.bob)
    completions = [{"op": "complete", "id": t.pk} for t in (a, child)]

    r = bulk(client, *completions)
    assert (r.status_code, r.json()["code"]) == (409, "open_work"), "b is open"
    r = bulk(client, *completions, on_error="skip")
    assert [x["ok"] for x in r.json()["results"]] == [False, False]
    assert bulk(client, *completions, {"op": "complete", "id": b.pk}).json()["succeeded"] == 3


def test_where_selects_the_tasks(fixtures, as_, tasks):
    client = as_(fixtures.bob)

    r = bulk(
        client,
        {"op": "tag", "where": {"status": ["todo"], "assignee": ["none"]}, "data": {"tags": ["x"]}},
        {"op": "complete", "where": {"assignee": ["me"]}},
    )

    assert [x["index"] for x in r.json()["results"]] == [0] * 4
    assert len(client.get("/tasks?tag=x").json()["data"]) == 4
    r = bulk(client, {"op": "delete", "where": {"project": ["SEC"]}})
    assert (r.status_code, r.json()["errors"][0]["pointer"]) == (
        422,
        "#/operations/0/where/project",
    )
    for wrong in ({"where": {"tag": ["x"]}, "id": 1}, {"where": {"colour": ["red"]}}, {}):
        assert bulk(client, {"op": "delete", **wrong}).status_code == 422


@pytest.mark.slow
def test_more_than_500_changes_are_refused(fixtures, as_, tasks):
    client = as_(fixtures.bob)

    assert bulk(client).status_code == 422
    assert bulk(client, *[new(fixtures)] * 501).status_code == 422
    assert bulk(client, *[new(fixtures)] * 500).json()["succeeded"] == 500
    r = bulk(client, {"op": "complete", "where": {"project": ["APO"]}})
    assert (r.status_code, r.json()["errors"][0]["code"]) == (422, "too_many")
    wheres = [{"op": "complete", "where": {"tag": [str(n)]}} for n in range(21)]
    assert bulk(client, *wheres[1:]).json()["results"] == []
    assert bulk(client, *wheres).status_code == 422


def test_project_of_a_non_member_is_not_found(fixtures, as_, tasks):
    for actor in (fixtures.eve, fixtures.mallory):
        r = bulk(as_(actor), *({"op": "delete", "id": t.pk} for t in tasks))

        assert (r.status_code, len(r.json()["errors"])) == (404, 4)
        everything = {"status": ["todo", "in_progress", "done"]}
        assert bulk(as_(actor), {"op": "delete", "where": everything}).status_code == 200
    with inside(fixtures.acme):
        assert Task.objects.count() == 5


def test_read_only_token_is_refused(fixtures, as_):
    assert bulk(as_(fixtures.bob, "read"), new(fixtures)).status_code == 403


def test_dry_run_with_skip_answers_like_the_request_and_changes_nothing(fixtures, as_, tasks):
    client = as_(fixtures.bob)
    operations = [
        {"op": "complete", "id": tasks[0].pk},
        {"op": "assign", "id": tasks[1].pk, "data": {"assignee_id": fixtures.eve.user.pk}},
    ]
    body = {"operations": operations, "on_error": "skip"}

    tried = client.post("/tasks/bulk?dry_run=true", body)
    planned = client.post("/plans", {"method": "POST", "path": "/api/v1/tasks/bulk", "body": body})
    assert client.get(f"/tasks/{tasks[0].pk}").json()["status"] == "todo"
    done = client.post("/tasks/bulk", body)

    assert (tried["Dry-Run"], planned.json()["status"]) == ("true", 200)
    for response in (tried.json(), planned.json()["result"]):
        assert (response["succeeded"], response["skipped"]) == (1, 1)
        assert response["results"][1] == done.json()["results"][1]
    verbs = [event["verb"] for event in planned.json()["events"]]
    assert verbs == ["task.completed"]


def test_retry_of_a_request_with_skip_answers_the_same(fixtures, as_, tasks):
    body = {
        "operations": [
            {"op": "tag", "where": {"project": ["APO"]}, "data": {"tags": ["x"]}},
            {"op": "assign", "id": tasks[1].pk, "data": {"assignee_id": fixtures.eve.user.pk}},
        ],
        "on_error": "skip",
    }
    client = as_(fixtures.bob)

    first, second = (
        client.post("/tasks/bulk", body, headers={"Idempotency-Key": "k"}) for _ in range(2)
    )

    assert (first.status_code, second["Idempotency-Replayed"]) == (200, "true")
    assert (first.content, first.json()["skipped"]) == (second.content, 1)


def test_undo_of_a_request_with_skip_takes_back_what_was_done(fixtures, as_, tasks):
    client = as_(fixtures.bob)
    operations = [{"op": "delete", "id": task.pk} for task in (tasks[0], fixtures.secret_task)]
    r = bulk(client, *operations, on_error="skip")

    undone = client.post("/undo", {"request_id": r["X-Request-Id"]})

    assert (r.json()["succeeded"], r.json()["skipped"], undone.status_code) == (1, 1, 200)
    assert client.get(f"/tasks/{tasks[0].pk}").status_code == 200


def test_errors_of_a_skipped_operation_are_bounded(fixtures, as_, tasks):
    with inside(fixtures.acme):
        for number in range(23):
            create_task(fixtures.ada, fixtures.apollo, title=f"s{number}", parent=tasks[0])

    r = bulk(as_(fixtures.bob), {"op": "complete", "id": tasks[0].pk}, on_error="skip")

    problem = r.json()["results"][0]["problem"]
    assert (len(problem["errors"]), problem["errors_left_out"]) == (20, 3)


@pytest.mark.parametrize("value", ["continue", "abort", "", None, True])
def test_unknown_value_of_on_error_is_refused(fixtures, as_, tasks, value):
    r = bulk(as_(fixtures.bob), {"op": "complete", "id": tasks[0].pk}, on_error=value)

    assert (r.status_code, r.json()["code"]) == (422, "validation_failed")
    assert r.json()["errors"][0]["pointer"] == "#/on_error"
