"""Creating a project with its first tasks: all of them or nothing."""

from __future__ import annotations

import pytest

from taskflow.tenancy import inside
from tasks.models import Project, Tag, Task


def create(client, *tasks, **more):
    return client.post("/projects", {"name": "Web", "key": "WEB", "tasks": list(tasks)} | more)


def test_project_is_created_with_subtasks_blockers_and_tags(fixtures, as_, events):
    client = as_(fixtures.bob)

    r = create(
        client,
        {
            "title": "Ship",
            "blocked_by": ["build", fixtures.task.pk],
            "tags": ["Release"],
            "subtasks": [
                {"title": "Announce", "tags": ["release"], "subtasks": [{"title": "Write"}]},
                {"title": "Deploy", "priority": "high", "status": "in_progress"},
            ],
        },
        {"title": "Build", "ref": "build", "assignee_id": fixtures.bob.user.pk},
    )

    assert r.status_code == 201, r.json()
    assert r.json()["task_counts"] == {"todo": 4, "in_progress": 1, "done": 0, "cancelled": 0}
    tasks = {t["title"]: t for t in client.get("/tasks?project=WEB&sort=number").json()["data"]}
    assert [t["key"] for t in tasks.values()] == ["WEB-1", "WEB-2", "WEB-3", "WEB-4", "WEB-5"]
    assert list(tasks) == ["Ship", "Announce", "Write", "Deploy", "Build"]
    assert tasks["Ship"]["blocked_by"] == [fixtures.task.pk, tasks["Build"]["id"]]
    assert tasks["Write"]["parent_id"] == tasks["Announce"]["id"]
    assert tasks["Announce"]["parent_id"] == tasks["Deploy"]["parent_id"] == tasks["Ship"]["id"]
    assert [t["name"] for t in tasks["Announce"]["tags"]] == ["release"]
    assert {t["version"] for t in tasks.values()} == {1}
    made = events(fixtures.acme, request_id=r.headers["X-Request-Id"])
    assert [e.subject_type for e in made] == ["project", "projectmember", "tag"] + ["task"] * 5


@pytest.mark.parametrize(
    ("task", "pointer"),
    [
        ({"title": ""}, "#/tasks/1/title"),
        ({}, "#/tasks/1/title"),
        ({"title": "x", "status": "open"}, "#/tasks/1/status"),
        ({"title": "x", "colour": "red"}, "#/tasks/1/colour"),
        ({"title": "x", "subtasks": [{"title": "y"}, {"title": 5}]}, "#/tasks/1/subtasks/1/title"),
        ({"title": "x", "assignee_id": 10**9}, "#/tasks/1/assignee_id"),
        ({"title": "x", "blocked_by": [10**9]}, "#/tasks/1/blocked_by/0"),
        ({"title": "x", "blocked_by": ["a", "nobody"]}, "#/tasks/1/blocked_by/1"),
        ({"title": "x", "ref": "a"}, "#/tasks/1/ref"),
        ({"title": "x", "ref": "me", "blocked_by": ["me"]}, "#/tasks/1"),
        ({"title": "x", "external_ref": "r"}, "#/tasks/1"),
        (
            {"title": "x", "due_on": "2026-12-01", "due_date": "2026-12-01T00:00:00Z"},
            "#/tasks/1/due_on",
        ),
    ],
)
def test_invalid_task_is_refused_with_its_pointer_and_nothing_is_created(
    fixtures, as_, events, task, pointer
):
    client = as_(fixtures.bob)
    before = len(events(fixtures.acme))

    r = create(client, {"title": "first", "ref": "a", "external_ref": "r", "tags": ["new"]}, task)

    assert r.status_code in (409, 422), r.json()
    assert [e["pointer"] for e in r.json()["errors"]] == [pointer]
    with inside(fixtures.acme):
        assert (Project.objects.count(), Task.objects.count(), Tag.objects.count()) == (1, 1, 0)
    assert len(events(fixtures.acme)) == before


def test_circle_of_blockers_is_refused(fixtures, as_):
    r = create(
        as_(fixtures.bob),
        {"title": "a", "ref": "a", "blocked_by": ["b"]},
        {"title": "b", "ref": "b", "blocked_by": ["a"]},
    )

    assert (r.status_code, r.json()["code"]) == (409, "cycle"), r.json()


def test_more_than_five_levels_are_refused(fixtures, as_):
    task = {"title": "deepest"}
    for level in range(4):
        task = {"title": str(level), "subtasks": [task]}
    client = as_(fixtures.bob)

    assert create(client, task).status_code == 201
    r = create(client, {"title": "top", "subtasks": [task]}, key="DEEP")
    assert r.status_code == 422
    assert r.json()["errors"][0]["pointer"] == "#/tasks/0" + "/subtasks/0" * 5 + "/parent_id"


@pytest.mark.slow
def test_more_than_500_tasks_are_refused(fixtures, as_):
    tasks = [{"title": "x", "subtasks": [{"title": "y"}]}] * 250
    client = as_(fixtures.bob)

    assert create(client, *tasks).status_code == 201
    assert create(client, *tasks, {"title": "z"}, key="MANY").status_code == 422
