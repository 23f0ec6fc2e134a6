from __future__ import annotations

import random

import pytest

from accounts.tenancy import inside
from taskflow.paging import PageParams, paginate
from tasks.actions.projects import create_project
from tasks.actions.tasks import complete_task, create_task
from tasks.filters import TASK_SORTS
from tasks.models import Task


@pytest.fixture
def board(world):
    """Tasks told apart by title; `Launch` (APO-1, Ada's) is there already."""
    with inside(world.acme):
        other = create_project(world.ada, name="Other", key="OTH")
        low = create_task(world.ada, world.apollo, title="low", priority="low", tags=["Bug"])
        create_task(world.ada, world.apollo, title="child", parent=low, assignee=world.bob.user)
        create_task(world.ada, world.apollo, title="day", due_on="2026-12-10", priority="high")
        create_task(
            world.ada, other, title="instant", due_date="2026-12-10T10:00:00Z", tags=["bug", "ops"]
        )
        complete_task(world.ada, create_task(world.ada, other, title="done"))
    return low


@pytest.mark.parametrize(
    ("query", "titles"),
    [
        ("", "Launch low child day instant done"),
        ("project=APO", "Launch low child day"),
        ("project=apo", "Launch low child day"),
        ("project=APO&project=OTH", "Launch low child day instant done"),
        ("status=done", "done"),
        ("status=done&status=todo&project=OTH", "instant done"),
        ("priority=low", "low"),
        ("priority=low&priority=high", "low day"),
        ("assignee=me", "Launch"),
        ("assignee=@bob", "child"),
        ("assignee=none&project=APO", "low day"),
        ("tag=bug", "low instant"),
        ("tag=BUG&tag=ops", "low instant"),
        ("tag=nothing", ""),
        ("parent=none", "Launch low day instant done"),
        ("parent=APO-2", "child"),
        ("due_before=2026-12-10", ""),
        ("due_before=2026-12-11", "day instant"),
        ("due_before=2026-12-10T10:00:01Z", "instant"),
        ("due_after=2026-12-09", "day instant"),
        ("due_after=2026-12-10T10:00:00Z", ""),
        ("updated_since=2199-01-01T00:00:00Z", ""),
        ("status=todo&priority=high&due_before=2027-01-01", "day"),
    ],
)
def test_filters(world, as_, board, query, titles):
    r = as_(world.ada).get(f"/tasks?sort=created_at&{query}")

    assert [t["title"] for t in r.json()["data"]] == titles.split()


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("project=NOPE", "project"),
        ("project=999999", "project"),
        ("project=", "project"),
        ("status=open", "status"),
        ("status=todo&status=open", "status"),
        ("priority=urgent", "priority"),
        ("assignee=@nobody", "assignee"),
        ("assignee=999999", "assignee"),
        ("assignee=bob", "assignee"),
        ("parent=NOPE-1", "parent"),
        ("parent=x", "parent"),
        ("due_before=soon", "due_before"),
        ("due_before=2026-12-10T10:00:00", "due_before"),
        ("updated_since=2026-12-10", "updated_since"),
        ("sort=colour", "sort"),
        ("sort=title,-title", "sort"),
        ("sort=,", "sort"),
        ("limit=201", "limit"),
        ("limit=0", "limit"),
        ("limit=ten", "limit"),
        ("skip=-1", "skip"),
        ("skip=10001", "skip"),
        ("include=everything", "include"),
        ("asignee=me", "asignee"),
        ("limit=1&limit=2", "limit"),
    ],
)
def test_a_wrong_name_or_value_is_refused(world, as_, board, query, parameter):
    r = as_(world.ada).get(f"/tasks?{query}")

    assert r.status_code == 422, r.json()
    assert r.json()["errors"][0]["parameter"] == parameter


def test_priority_sorts_by_urgency(world, as_, board):
    r = as_(world.ada).get("/tasks?project=APO&sort=-priority,number")

    assert [t["title"] for t in r.json()["data"]] == ["day", "Launch", "child", "low"]


def test_pages_by_skip_and_limit_and_counts(world, as_, board):
    client = as_(world.ada)

    page = client.get("/tasks?sort=created_at&skip=2&limit=3&include=count").json()

    assert [t["title"] for t in page["data"]] == ["child", "day", "instant"]
    assert (page["count"], page["has_more"]) == (6, True)
    assert client.get("/tasks").json()["count"] is None


def test_lists_cost_the_same_for_many(world, as_, assert_statements):
    client = as_(world.ada)
    client.get("/me")  # notes the token's first use
    for amount in (3, 30):
        with inside(world.acme):
            for number in range(amount):
                create_task(world.ada, world.apollo, title=str(number), tags=[f"t{number % 4}"])
        with assert_statements(3):  # token, page, tags
            assert client.get("/tasks").status_code == 200


# ---- cursors ------------------------------------------------------------------------------------

ORDERS = [[f] for f in TASK_SORTS] + [[f"-{f}"] for f in TASK_SORTS]
ORDERS += [["-priority", "due_date"], ["due_on", "-title"], ["priority", "-due_on", "created_at"]]


@pytest.fixture
def many(world):
    """Sixty tasks with ties and nulls in every column that sorts."""
    chance = random.Random(7)
    with inside(world.acme):
        for number in range(60):
            due = chance.choice([{}, {"due_on": f"2026-01-{1 + number % 5:02}"}, {"due_date": f"2026-01-0{1 + number % 5}T00:00:00Z"}])  # fmt: skip
            create_task(
                world.ada,
                world.apollo,
                title=f"t{number % 7}",
                priority=chance.choice(["low", "medium", "high"]),
                **due,
            )
    return world


@pytest.mark.parametrize("order", ORDERS, ids=",".join)
def test_a_cursor_walks_every_order_once(many, as_, order):
    client, seen, cursor = as_(many.ada), [], ""
    while cursor is not None:
        page = client.get(f"/tasks?limit=7&sort={','.join(order)}{cursor}").json()
        seen += [t["id"] for t in page["data"]]
        cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"

    at_once = client.get(f"/tasks?limit=200&sort={','.join(order)}").json()["data"]
    assert seen == [t["id"] for t in at_once]
    assert len(set(seen)) == len(seen) == 61


def test_a_walk_neither_skips_nor_repeats_while_others_write(many, as_):
    client, seen, cursor = as_(many.ada), [], ""
    there = {t["id"] for t in client.get("/tasks?limit=200").json()["data"]}
    deleted = set()
    while cursor is not None:
        page = client.get(f"/tasks?limit=10{cursor}").json()
        seen += [t["id"] for t in page["data"]]
        cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
        with inside(many.acme):
            create_task(many.ada, many.apollo, title="new")
        behind = seen[0]
        if behind not in deleted:
            client.delete(f"/tasks/{behind}")
            deleted.add(behind)

    assert len(set(seen)) == len(seen)
    assert set(seen) == there


def test_a_forged_cursor_is_refused(many, as_):
    client = as_(many.ada)
    good = client.get("/tasks?limit=5").json()["next_cursor"]
    of_another_order = client.get("/tasks?limit=5&sort=title").json()["next_cursor"]
    forged = ["x", "", "e30", "bnVsbA", "W10", "WyItaWQiLHt9XQ", "WyItaWQiLCJ4Il0", "WyItaWQiLG51bGwsMV0", good[:-3], "/" + good, "WyItaWQiLDFlOTk5XQ", "WyItaWQiLDk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5XQ"]  # fmt: skip

    for cursor in [*forged, of_another_order]:
        r = client.get("/tasks", {"cursor": cursor})
        assert r.status_code in (200, 400), cursor
        if r.status_code == 400:
            assert r.json()["code"] == "invalid_cursor"
    assert client.get("/tasks", {"cursor": of_another_order}).status_code == 400
    chance = random.Random(1)
    for _ in range(200):
        noise = "".join(chance.choices("ABCabc019-_=[]", k=chance.randint(1, 30)))
        assert client.get("/tasks", {"cursor": noise}).status_code == 400


def test_a_page_holds_no_more_than_was_asked(many):
    with inside(many.acme):
        page = paginate(Task.objects.all(), PageParams(limit=200), order=["-id"])

    assert (len(page["data"]), page["has_more"], page["next_cursor"]) == (61, False, None)
