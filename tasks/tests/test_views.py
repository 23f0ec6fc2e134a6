"""Stored views of tasks: who sees and changes them, and what they list in each channel."""

from __future__ import annotations

import pytest

from accounts.actions.tokens import create_token
from conftest import ApiClient
from taskflow.audit.actor import TokenScope
from taskflow.audit.models import Event
from taskflow.tenancy import inside
from tasks.actions.projects import create_project
from tasks.changes.tasks import complete_task, create_task
from tasks.models import View

pytestmark = pytest.mark.one_database

MINE = {"assignee": ["me"], "status_not": ["done"]}


@pytest.fixture
def board(fixtures):
    with inside(fixtures.acme):
        hidden = create_project(fixtures.boss, name="Hidden", key="HID")
        create_task(fixtures.boss, hidden, title="hidden", priority="high")
        create_task(fixtures.ada, fixtures.apollo, title="mine", assignee=fixtures.ada.user)
        create_task(fixtures.ada, fixtures.apollo, title="urgent", priority="high", tags=["bug"])
        create_task(
            fixtures.ada, fixtures.apollo, title="bob's", assignee=fixtures.bob.user, tags=["bug"]
        )
        done = create_task(fixtures.ada, fixtures.apollo, title="done", priority="high")
        complete_task(fixtures.ada, done)
    return fixtures


def create(client, where, **values):
    r = client.post("/views", {"name": "View", "where": where} | values)
    assert r.status_code == 201, r.content
    return r.json()["id"]


def titles(client, query):
    r = client.get(f"/tasks?{query}")
    assert r.status_code == 200, r.content
    return sorted(task["title"] for task in r.json()["data"])


# ---- the rows -----------------------------------------------------------------------------------


def test_created_view_is_returned_as_stored(fixtures, as_):
    client = as_(fixtures.ada)
    where = {
        "q": "late -later",
        "project": ["APO"],
        "status": ["todo"],
        "ready": True,
        "due_before": "7d",
        "created_after": "2026-01-01T09:00:00Z",
        "completed_after": "2026-01-01",
        "metadata": {"sprint": [12, "x"], "build": {"green": [True]}},
    }
    body = {"name": "All", "where": where, "sort": "-priority,due", "layout": "board",
            "group_by": "assignee", "is_shared": True}  # fmt: skip

    created = client.post("/views", body).json()

    assert created["where"] == where | {"created_after": "2026-01-01T09:00:00+00:00"}
    assert {name: created[name] for name in body if name != "where"} == {
        name: value for name, value in body.items() if name != "where"
    }
    assert client.get(f"/views/{created['id']}").json() == created
    assert titles(client, f"view={created['id']}") == []


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"where": {}}, "where"),
        ({"where": {"colour": "red"}}, "where/colour"),
        ({"where": {"view": 1, "status": ["todo"]}}, "where"),
        ({"where": {"project": ["1"]}}, "where"),
        ({"where": {"assignee_not": ["7"]}}, "where"),
        ({"where": {"project": ["NOPE"]}}, "where/project"),
        ({"where": {"assignee": ["@nobody"]}}, "where/assignee"),
        ({"where": {"status": ["open"]}}, "where/status/0"),
        ({"where": {"metadata": {"a": [1], "b": {}}}}, "where/metadata"),
        ({"where": MINE, "sort": "colour"}, "sort"),
        ({"where": MINE, "name": ""}, "name"),
        ({"where": MINE, "name": "a\nb"}, "name"),
        ({"where": MINE, "layout": "table"}, "layout"),
        ({"where": MINE, "group_by": "tag"}, "group_by"),
        ({"where": MINE, "owner": "@bob"}, "owner"),
    ],
)
def test_invalid_view_is_refused_with_a_pointer(fixtures, as_, body, pointer):
    r = as_(fixtures.ada).post("/views", {"name": "View"} | body)

    assert r.status_code == 422
    assert r.json()["errors"][0]["pointer"] == f"#/{pointer}"


def test_others_see_shared_views_and_administrators_may_change_them(fixtures, as_):
    ada, bob, boss = as_(fixtures.ada), as_(fixtures.bob), as_(fixtures.boss)
    own, shared = create(ada, MINE, name="own"), create(ada, MINE, name="shared", is_shared=True)

    assert [v["name"] for v in ada.get("/views").json()["data"]] == ["own", "shared"]
    for client in (bob, boss):
        assert [v["name"] for v in client.get("/views").json()["data"]] == ["shared"]
        assert client.get(f"/views/{own}").status_code == 404
        assert client.get(f"/tasks?view={own}").status_code == 422
    assert as_(fixtures.mallory).get(f"/views/{shared}").status_code == 404
    assert bob.patch(f"/views/{shared}", {"name": "x"}).status_code == 403
    assert bob.delete(f"/views/{shared}").status_code == 403
    assert boss.patch(f"/views/{shared}", {"name": "x"}).status_code == 200
    assert ada.patch(f"/views/{shared}", {"is_shared": False}).status_code == 200
    assert boss.get(f"/views/{shared}").status_code == 404


def test_bound_token_sees_own_views_only_and_creates_none(board, as_):
    shared = create(as_(board.boss), MINE, is_shared=True)
    own = create(as_(board.ada), {"priority": ["high"]}, name="own")
    with inside(board.acme):
        _, token = create_token(
            board.ada, name="t", scope=TokenScope.WRITE, project_ids=[board.apollo.pk]
        )
    bound = ApiClient(token)

    assert [view["id"] for view in bound.get("/views").json()["data"]] == [own]
    assert bound.get(f"/views/{shared}").status_code == 404
    assert bound.post("/views", {"name": "x", "where": MINE}).status_code == 403
    assert titles(bound, f"view={own}") == ["done", "urgent"]


def test_update_replaces_filters_and_merges_by_etag(fixtures, as_):
    client = as_(fixtures.ada)
    view = create(client, MINE)
    etag = client.get(f"/views/{view}").headers["ETag"]

    assert client.put(f"/views/{view}", {"where": {"tag": ["bug"]}}).json()["where"] == {
        "tag": ["bug"]
    }
    merged = client.patch(f"/views/{view}", {"name": "New"}, headers={"If-Match": etag})
    assert (merged.status_code, merged.json()["name"]) == (200, "New")
    refused = client.patch(f"/views/{view}", {"where": MINE}, headers={"If-Match": etag})
    assert refused.status_code == 412


def test_changes_of_a_view_are_recorded_and_undone(fixtures, as_):
    client = as_(fixtures.ada)
    view = create(client, MINE, is_shared=True)
    client.patch(f"/views/{view}", {"name": "New"}, headers={"X-Request-Id": "rename"})
    client.delete(f"/views/{view}", headers={"X-Request-Id": "delete"})
    with inside(fixtures.acme):
        verbs = Event.objects.filter(subject_type="view").order_by("id")
        assert [event.verb for event in verbs] == ["created", "changed", "deleted"]

    assert client.post("/undo", {"request_id": "delete"}).status_code == 200
    assert client.get(f"/views/{view}").json()["name"] == "New"
    assert as_(fixtures.bob).post("/undo", {"request_id": "rename"}).status_code == 404
    assert client.post("/undo", {"request_id": "rename"}).status_code == 200
    assert client.get(f"/views/{view}").json()["where"] == MINE


def test_dry_run_and_plan_store_nothing(fixtures, as_):
    client = as_(fixtures.ada)
    body = {"name": "View", "where": MINE}

    assert client.post("/views?dry_run=true", body).status_code == 201
    plan = {"method": "POST", "path": "/api/v1/views", "body": body}
    assert client.post("/plans", plan).status_code == 200
    with inside(fixtures.acme):
        assert not View.objects.exists()


def test_retry_creates_one_view(fixtures, as_):
    client = as_(fixtures.ada)
    first, second = (
        client.post(
            "/views", {"name": "View", "where": MINE}, headers={"Idempotency-Key": "k"}
        ).json()
        for _ in range(2)
    )

    assert first == second
    assert len(client.get("/views").json()["data"]) == 1


# ---- what a view lists --------------------------------------------------------------------------


def test_view_lists_the_tasks_of_the_reader(board, as_):
    ada, bob = as_(board.ada), as_(board.bob)
    mine = create(ada, MINE, is_shared=True)
    high = create(as_(board.boss), {"priority": ["high"]}, is_shared=True)

    assert titles(ada, f"view={mine}") == ["Launch", "mine"]
    assert titles(bob, f"view={mine}") == ["bob's"]
    assert titles(bob, f"view={high}") == ["done", "urgent"]
    assert titles(as_(board.boss), f"view={high}") == ["done", "hidden", "urgent"]


def test_further_filters_narrow_a_view(board, as_):
    client = as_(board.ada)
    view = create(client, {"priority": ["high", "medium"], "tag": ["bug"], "project": ["APO"]})

    assert titles(client, f"view={view}") == ["bob's", "urgent"]
    assert titles(client, f"view={view}&priority=high") == ["urgent"]
    assert titles(client, f"view={view}&priority=low") == []
    assert titles(client, f"view={view}&priority_not=high") == ["bob's"]
    assert titles(client, f"view={view}&tag=other") == []
    assert titles(client, f"view={view}&project=APO&assignee=@bob") == ["bob's"]


def test_view_orders_its_list_unless_the_request_does(board, as_):
    client = as_(board.ada)
    view = create(client, {"project": ["APO"], "status_not": ["done"]}, sort="-priority,title")

    def order(query):
        return [task["title"] for task in client.get(f"/tasks?{query}").json()["data"]]

    assert order(f"view={view}")[0] == "urgent"
    assert order(f"view={view}&sort=title") == sorted(order(f"view={view}"), key=str.lower)
    page = client.get(f"/tasks?view={view}&limit=2").json()
    rest = client.get(f"/tasks?view={view}&limit=2&cursor={page['next_cursor']}").json()
    assert [t["title"] for t in page["data"] + rest["data"]] == order(f"view={view}")


def test_counts_csv_and_bulk_take_a_view(board, as_):
    client = as_(board.ada)
    view = create(client, {"tag": ["bug"]})

    counts = client.get(f"/tasks/counts?group_by=priority&view={view}").json()["data"]
    assert {row["priority"]: row["count"] for row in counts} == {"high": 1, "medium": 1}
    file = client.get(f"/projects/APO/tasks.csv?view={view}").content.decode()
    assert file.count("\n") == 3
    operation = {"op": "tag", "where": {"view": view}, "data": {"tags": ["seen"]}}
    results = client.post("/tasks/bulk", {"operations": [operation]}).json()
    assert results["succeeded"] == 2
    assert titles(client, "tag=seen") == ["bob's", "urgent"]


def test_view_is_a_queue_of_claims(board, as_):
    view = create(as_(board.ada), {"tag": ["bug"]}, is_shared=True)
    client = as_(board.bob)

    claimed = [
        client.post("/claims", {"where": {"view": view}}).json()["data"][0]["task"]["title"]
        for _ in range(2)
    ]

    assert claimed == ["urgent", "bob's"]
    assert client.post("/claims", {"where": {"view": view}}).status_code == 204


@pytest.mark.parametrize("query", ["view=999999", "view=x", "view=0", "view=", "view=1&view=2"])
def test_view_that_cannot_be_read_is_refused(board, as_, query):
    r = as_(board.ada).get(f"/tasks?{query}")

    assert (r.status_code, r.json()["errors"][0]["parameter"]) == (422, "view")


def test_name_that_disappeared_is_refused_with_the_name_of_the_view(board, as_):
    view = create(as_(board.boss), {"project": ["HID"]}, name="Secret work", is_shared=True)

    r = as_(board.ada).get(f"/tasks?view={view}")

    assert (r.status_code, r.json()["errors"][0]["parameter"]) == (422, "view")
    assert r.json()["detail"] == (
        "The view “Secret work” cannot be used any more: There is no project “HID”."
        " Give an id, or a key as in WEB. Change the filters of the view."
    )
