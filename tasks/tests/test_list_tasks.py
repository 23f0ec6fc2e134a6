from __future__ import annotations

from datetime import timedelta

import pytest

from taskflow.tenancy import inside
from tasks.actions.projects import create_project
from tasks.changes.tasks import complete_task, create_task
from tasks.models import Task
from tasks.tests.factories import ProjectFactory, TaskFactory


@pytest.fixture
def board(fixtures):
    """Tasks with different titles; `Launch` (APO-1, of Ada) exists already."""
    with inside(fixtures.acme):
        other = create_project(fixtures.ada, name="Other", key="OTH")
        low = create_task(fixtures.ada, fixtures.apollo, title="low", priority="low", tags=["Bug"])
        create_task(
            fixtures.ada, fixtures.apollo, title="child", parent=low, assignee=fixtures.bob.user
        )
        create_task(
            fixtures.ada, fixtures.apollo, title="day", due_on="2026-12-10", priority="high"
        )
        create_task(
            fixtures.ada,
            other,
            title="instant",
            due_date="2026-12-10T10:00:00Z",
            tags=["bug", "ops"],
        )
        complete_task(fixtures.ada, create_task(fixtures.ada, other, title="done"))
    return low


@pytest.mark.parametrize(
    ("query", "titles"),
    [
        ("", "Launch low child day instant done"),
        ("project=APO", "Launch low child day"),
        ("project=apo", "Launch low child day"),
        ("project={apollo}", "Launch low child day"),
        ("project=APO&project=OTH", "Launch low child day instant done"),
        ("project={apollo}&project=APO", "Launch low child day"),
        ("status=done", "done"),
        ("status=done&status=todo&project=OTH", "instant done"),
        ("priority=low", "low"),
        ("priority=low&priority=high", "low day"),
        ("assignee=me", "Launch"),
        ("assignee=@bob", "child"),
        ("assignee=@BOB", "child"),
        ("assignee={bob}", "child"),
        ("assignee=@eve", ""),
        ("assignee=none", "low day instant done"),
        ("assignee=none&project=APO", "low day"),
        ("tag=bug", "low instant"),
        ("tag=BUG&tag=ops", "low instant"),
        ("tag=nothing", ""),
        ("tag=nothing&tag=ops", "instant"),
        ("tag=ops&status=done", ""),
        ("tag_all=BUG&tag_all=ops", "instant"),
        ("tag_all=bug", "low instant"),
        ("tag_all=bug&tag_all=nothing", ""),
        ("tag_all=bug&tag_all=ops&priority=low", ""),
        ("tag_all_not=bug&tag_all_not=ops&tag=bug", "low"),
        ("parent_none=true", "Launch low day instant done"),
        ("parent=APO-2", "child"),
        ("parent=apo-2", "child"),
        ("parent={low}", "child"),
        ("parent={low}&assignee=me", ""),
        # A day is before the 10th, or after it, as a whole; the 10th itself is neither.
        ("due_before=2026-12-10", ""),
        ("due_before=2026-12-11", "day instant"),
        ("due_after=2026-12-09", "day instant"),
        ("due_after=2026-12-10", ""),
        # A day is before a timestamp if it has ended by then, and after it if it begins later.
        ("due_before=2026-12-10T10:00:00Z", ""),
        ("due_before=2026-12-10T10:00:01Z", "instant"),
        ("due_before=2026-12-10T12:00:01%2B02:00", "instant"),
        ("due_before=2026-12-11T00:00:00Z", "day instant"),
        ("due_after=2026-12-10T10:00:00Z", ""),
        ("due_after=2026-12-10T09:59:59Z", "instant"),
        ("due_after=2026-12-09T23:59:59Z", "day instant"),
        ("due_after=2026-12-09&due_before=2026-12-11&priority=high", "day"),
        ("updated_since=1971-01-01T00:00:00Z&project=OTH", "instant done"),
        ("updated_since=2199-01-01T00:00:00Z", ""),
        ("status=todo&priority=high&due_before=2027-01-01", "day"),
    ],
)
def test_filters_select_the_documented_tasks(fixtures, as_, board, query, titles):
    ids = {"apollo": fixtures.apollo.pk, "bob": fixtures.bob.user.pk, "low": board.pk}

    r = as_(fixtures.ada).get(f"/tasks?sort=created_at&{query.format(**ids)}")

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
        ("assignee=@", "assignee"),
        ("assignee=", "assignee"),
        ("tag=", "tag"),
        ("tag=bug&tag=", "tag"),
        ("parent=", "parent"),
        ("parent=0", "parent"),
        ("parent=NOPE-1", "parent"),
        ("parent=x", "parent"),
        ("due_before=soon", "due_before"),
        ("due_before=", "due_before"),
        ("due_before=2026", "due_before"),
        ("due_after=2026-02-30", "due_after"),
        ("due_after=2200-01-01", "due_after"),
        ("due_before=2026-12-10T10:00:00", "due_before"),
        ("updated_since=2026-12-10", "updated_since"),
        ("sort=colour", "sort"),
        ("sort=title,-title", "sort"),
        ("sort=,", "sort"),
        ("sort=", "sort"),
        ("sort=--title", "sort"),
        ("sort=priority_rank", "sort"),
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
def test_invalid_filter_or_value_is_refused(fixtures, as_, board, query, parameter):
    r = as_(fixtures.ada).get(f"/tasks?{query}")

    assert r.status_code == 422, r.json()
    assert r.json()["errors"][0]["parameter"] == parameter


@pytest.mark.parametrize("parameter", ["project", "assignee", "parent"])
def test_ids_of_another_tenant_are_refused_like_missing_ids(fixtures, as_, board, parameter):
    theirs = {
        "project": [fixtures.secret.pk, "SEC"],
        "assignee": [fixtures.mallory.user.pk, "@mallory"],
        "parent": [fixtures.secret_task.pk, "SEC-1"],
    }[parameter]
    unknown = {"project": "NIX", "assignee": "@nix", "parent": "NIX-1"}[parameter]
    client = as_(fixtures.ada)

    for ref, nobodys in ((theirs[0], 10**9), (theirs[1], unknown)):
        r, other = (client.get("/tasks", {parameter: x}) for x in (ref, nobodys))
        assert r.status_code == other.status_code == 422
        (error,), (expected,) = r.json()["errors"], other.json()["errors"]
        expected["detail"] = expected["detail"].replace(f"“{nobodys}”", f"“{ref}”")
        assert error == expected


def test_tag_of_another_tenant_selects_nothing(fixtures, as_, board):
    with inside(fixtures.globex):
        create_task(fixtures.mallory, fixtures.secret, title="x", tags=["theirs", "bug"])

    assert as_(fixtures.ada).get("/tasks?tag=theirs").json()["data"] == []
    assert len(as_(fixtures.ada).get("/tasks?tag=bug").json()["data"]) == 2


def test_updated_since_includes_its_own_time(fixtures, as_, board):
    client = as_(fixtures.ada)
    with inside(fixtures.acme):
        last = Task.objects.order_by("updated_at").last().updated_at
    for time, titles in ((last, ["done"]), (last + timedelta(microseconds=1), [])):
        r = client.get("/tasks", {"updated_since": time.isoformat()})
        assert [t["title"] for t in r.json()["data"]] == titles


def test_project_of_a_non_member_is_not_found(fixtures, as_, board):
    assert as_(fixtures.eve).get("/tasks?include=count").json() == {
        "data": [], "next_cursor": None, "has_more": False, "count": 0,
    }  # fmt: skip
    assert as_(fixtures.eve).get("/tasks?project=APO").status_code == 422


def test_priority_sorts_by_urgency(fixtures, as_, board):
    r = as_(fixtures.ada).get("/tasks?project=APO&sort=-priority,number")

    assert [t["title"] for t in r.json()["data"]] == ["day", "Launch", "child", "low"]


def test_list_is_paged_by_skip_and_limit_and_counted(fixtures, as_, board):
    client = as_(fixtures.ada)

    page = client.get("/tasks?sort=created_at&skip=2&limit=3&include=count").json()

    assert [t["title"] for t in page["data"]] == ["child", "day", "instant"]
    assert (page["count"], page["has_more"]) == (6, True)
    assert client.get("/tasks").json()["count"] is None


def read_pages(client, query):
    """The ids on all pages of a list, in order."""
    ids, cursor = [], ""
    while cursor is not None:
        page = client.get(f"/tasks?{query}{cursor}").json()
        ids += [task["id"] for task in page["data"]]
        cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
    return ids


def test_pages_of_a_member_of_one_old_project_have_all_of_its_tasks(fixtures, as_):
    """PostgreSQL looks for them among the latest tasks, of which few are visible, and then in the
    project.
    """
    with inside(fixtures.acme):
        others = ProjectFactory(actor=fixtures.eve)
        for amount in (30, 2, 20, 0, 18):
            TaskFactory.create_batch(amount, actor=fixtures.eve, project=others)
            low, high = (
                TaskFactory(actor=fixtures.ada, project=fixtures.apollo, priority=priority)
                for priority in ("low", "high")
            )
            complete_task(fixtures.ada, low if amount else high)
        tasks = Task.objects.filter(project=fixtures.apollo).order_by("-id")
        expected = {
            "": list(tasks.values_list("pk", flat=True)),
            "&status=done": list(tasks.filter(status="done").values_list("pk", flat=True)),
            "&priority=high": list(tasks.filter(priority="high").values_list("pk", flat=True)),
        }
    assert all(len(ids) >= 5 for ids in expected.values())

    for filters, ids in expected.items():
        for limit in (1, 2, 5):
            assert read_pages(as_(fixtures.bob), f"limit={limit}{filters}") == ids, (filters, limit)
        skipped = as_(fixtures.bob).get(f"/tasks?limit=2&skip=3{filters}").json()["data"]
        assert [task["id"] for task in skipped] == ids[3:5]
