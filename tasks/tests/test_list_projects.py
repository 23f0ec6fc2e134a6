from __future__ import annotations

import pytest

from taskflow.tenancy import inside
from tasks.actions.projects import create_project
from tasks.changes.tasks import create_task
from tasks.models import Status


@pytest.fixture
def shelf(fixtures):
    with inside(fixtures.acme):
        create_project(fixtures.bob, name="Beta", status="on_hold")
        create_project(fixtures.bob, name="Alpha")
    return fixtures


def names(client, query=""):
    return [p["name"] for p in client.get(f"/projects?{query}").json()["data"]]


def test_project_contains_its_task_counts(shelf, as_):
    with inside(shelf.acme):
        for number, status in enumerate([Status.DONE, Status.DONE, Status.IN_PROGRESS]):
            create_task(shelf.ada, shelf.apollo, title=str(number), status=status)
        create_project(shelf.ada, name="Empty")

    counts = {p["key"]: p["task_counts"] for p in as_(shelf.ada).get("/projects").json()["data"]}

    assert counts == {
        "APO": {"todo": 1, "in_progress": 1, "done": 2, "cancelled": 0},
        "EMP": {"todo": 0, "in_progress": 0, "done": 0, "cancelled": 0},
    }


def test_project_contains_the_role_of_the_user(shelf, as_):
    roles = {
        who: {
            p["name"]: p["role"] for p in as_(getattr(shelf, who)).get("/projects").json()["data"]
        }
        for who in ("ada", "carl", "bob", "boss", "eve")
    }

    assert roles == {
        "ada": {"Apollo": "owner"},
        "carl": {"Apollo": "admin"},
        "bob": {"Apollo": "member", "Alpha": "owner", "Beta": "owner"},
        "boss": {"Apollo": None, "Alpha": None, "Beta": None},
        "eve": {},
    }


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "Alpha Beta Apollo"),  # the newest first
        ("sort=name", "Alpha Apollo Beta"),
        ("sort=-name", "Beta Apollo Alpha"),
        ("sort=key", "Alpha Apollo Beta"),
        ("sort=created_at", "Apollo Beta Alpha"),
        ("sort=-updated_at", "Alpha Beta Apollo"),
        ("status=on_hold", "Beta"),
        ("status=on_hold&status=active&sort=name", "Alpha Apollo Beta"),
        ("status=archived", ""),
        ("owner=me&sort=name", "Alpha Beta"),
        ("owner=@ADA", "Apollo"),
        ("owner=@boss", ""),
        ("owner={ada}", "Apollo"),
        ("owner=me&status=active", "Alpha"),
        ("updated_since=2199-01-01T00:00:00Z", ""),
        ("updated_since=1971-01-01T00:00:00%2B02:00&sort=name&limit=1&skip=1", "Apollo"),
    ],
)
def test_list_is_filtered_and_sorted(shelf, as_, query, expected):
    assert names(as_(shelf.bob), query.format(ada=shelf.ada.user.pk)) == expected.split()


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("owner=@nobody", "owner"),
        ("owner=none", "owner"),
        ("owner=", "owner"),
        ("owner=@mallory", "owner"),
        ("owner={mallory}", "owner"),
        ("sort=owner", "sort"),
        ("sort=", "sort"),
        ("status=gone", "status"),
        ("status=", "status"),
        ("updated_since=today", "updated_since"),
        ("updated_since=2026-01-01", "updated_since"),
        ("colour=red", "colour"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
    ],
)
def test_invalid_filter_or_sort_is_refused(shelf, as_, query, parameter):
    r = as_(shelf.bob).get(f"/projects?{query.format(mallory=shelf.mallory.user.pk)}")

    assert (r.status_code, r.json()["errors"][0]["parameter"]) == (422, parameter)
