"""One filter language for all lists: a repeated name is “or”, a name with `_not` excludes."""

from __future__ import annotations

import pytest

from taskflow.tenancy import inside
from tasks.actions.projects import create_project
from tasks.changes.tasks import create_task, delete_task


@pytest.fixture
def board(fixtures):
    """a: Ada's, high, red; b: Bob's, low, red and blue, done; c: unassigned, in another project."""
    with inside(fixtures.acme):
        delete_task(fixtures.ada, fixtures.task)
        other = create_project(fixtures.ada, name="Other", key="OTH")
        a = create_task(
            fixtures.ada, fixtures.apollo, title="a", assignee=fixtures.ada.user, priority="high",
            tags=["red"], external_ref="x-1", due_on="2026-12-01",
        )  # fmt: skip
        b = create_task(
            fixtures.bob, fixtures.apollo, title="b", assignee=fixtures.bob.user, priority="low",
            tags=["red", "blue"], parent=a, status="done",
        )  # fmt: skip
        c = create_task(fixtures.ada, other, title="c", blocked_by=[a])
    return a, b, c


@pytest.mark.parametrize(
    ("query", "titles"),
    [
        ("status=todo&status=done", "abc"),
        ("status_not=done", "ac"),
        ("status_not=done&status_not=todo", ""),
        ("status=todo&status_not=todo", ""),
        ("priority=high&priority=low", "ab"),
        ("priority_not=medium", "ab"),
        ("assignee=me", "a"),
        ("assignee=me&assignee=none", "ac"),
        ("assignee_not=me", "bc"),
        ("assignee_not=none", "ab"),
        ("assignee_not=none&assignee_not=me", "b"),
        ("assignee=@BOB&assignee=@ada", "ab"),
        ("created_by=me", "ac"),
        ("created_by_not=me", "b"),
        ("created_by=none", ""),
        ("created_by_not=none", "abc"),
        ("due_none=true", "bc"),
        ("due_none=false", "a"),
        ("tag=red", "ab"),
        ("tag=RED&tag_not=Blue", "a"),
        ("tag_not=red", "c"),
        ("tag_not=unknown", "abc"),
        ("project=APO&project=oth", "abc"),
        ("project_not=APO", "c"),
        ("parent_none=true", "ac"),
        ("parent_none=false", "b"),
        ("parent=APO-2", "b"),
        ("parent_not=APO-2", "ac"),
        ("blocked_by=APO-2", "c"),
        ("blocked_by_none=true", "ab"),
        ("blocked_by_not=APO-2", "ab"),
        ("ready=true", "a"),
        ("ready=false", "bc"),
        ("external_ref=x-1", "a"),
        ("external_ref_not=x-1", "bc"),
        ("due_before=2026-12-02", "a"),
        ("due_after=2026-12-02", ""),
        ("completed_after=2020-01-01", "b"),
        ("completed_before=2020-01-01", ""),
        ("created_after=2020-01-01T00:00:00Z", "abc"),
        ("created_before=2020-01-01", ""),
        ("updated_after=2199-01-01", ""),
        ("updated_before=2199-01-01", "abc"),
    ],
)
def test_filters_select_the_documented_rows(fixtures, as_, board, query, titles):
    r = as_(fixtures.ada).get(f"/tasks?sort=title&{query}")

    assert r.status_code == 200, r.json()
    assert "".join(t["title"] for t in r.json()["data"]) == titles


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("status=-done", "status"),
        ("status=open", "status"),
        ("assignee_not=@nobody", "assignee_not"),
        ("assignee=-me", "assignee"),
        ("project_not=NOPE", "project_not"),
        ("parent_not=APO-99", "parent_not"),
        ("parent=none", "parent"),
        ("blocked_by=none", "blocked_by"),
        ("blocked_by=SEC-1", "blocked_by"),
        ("ready=maybe", "ready"),
        ("created_after=lately", "created_after"),
    ],
)
def test_invalid_value_is_refused_by_name(fixtures, as_, board, query, parameter):
    r = as_(fixtures.ada).get(f"/tasks?{query}")

    assert (r.status_code, r.json()["errors"][0]["parameter"]) == (422, parameter)
