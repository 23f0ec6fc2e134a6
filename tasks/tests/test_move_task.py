from __future__ import annotations

import pytest

from taskflow.http.errors import Forbidden
from taskflow.tenancy import inside
from tasks.actions.members import add_member
from tasks.actions.projects import create_project
from tasks.changes.tasks import assign_task, create_task, delete_task, move_task
from tasks.models import Task


@pytest.fixture
def other(fixtures):
    """A project of Ada and Bob."""
    with inside(fixtures.acme):
        project = create_project(fixtures.ada, name="Other", key="OTH")
        add_member(fixtures.ada, project, user=fixtures.bob.user)
        create_task(fixtures.ada, project, title="first")
    return project


def move(client, task, project):
    return client.post(f"/tasks/{task}/move", {"project_id": project.pk})


def test_moved_task_and_subtasks_get_new_numbers(fixtures, as_, events, other):
    with inside(fixtures.acme):
        top = create_task(
            fixtures.ada, fixtures.apollo, title="top", parent=fixtures.task, tags=["t"]
        )
        child = create_task(fixtures.ada, fixtures.apollo, title="child", parent=top)
        gone = create_task(fixtures.ada, fixtures.apollo, title="gone", parent=top)
        delete_task(fixtures.ada, gone)

    r = move(as_(fixtures.bob), "APO-2", other)

    task = r.json()
    assert (r.status_code, task["key"], task["parent_id"]) == (200, "OTH-2", None)
    assert [t["name"] for t in task["tags"]] == ["t"]
    below = as_(fixtures.bob).get(f"/tasks/{child.pk}").json()
    assert (below["key"], below["parent_id"], below["project_id"]) == ("OTH-3", top.pk, other.pk)
    first, second = events(fixtures.acme, verb="moved")
    moved = {"project": [fixtures.apollo.pk, other.pk]}
    assert first.changes == moved | {"parent": [fixtures.task.pk, None]}, "the number stayed 2"
    assert second.changes == moved
    with inside(fixtures.acme):
        assert Task.everything.get(pk=gone.pk).project_id == fixtures.apollo.pk


def test_old_key_finds_the_moved_task(fixtures, as_, other):
    client = as_(fixtures.bob)
    with inside(fixtures.acme):
        create_task(fixtures.ada, fixtures.apollo, title="stays")
    move(client, "APO-1", other)

    assert client.get("/tasks/apo-1").json()["key"] == "OTH-2"
    assert client.patch("/tasks/APO-1", {"title": "y"}).json()["key"] == "OTH-2"
    assert client.get("/tasks?parent=APO-1").status_code == 200
    assert as_(fixtures.carl).get("/tasks/APO-1").status_code == 404, (
        "Carl is not a member of the other project"
    )
    move(client, "APO-1", fixtures.apollo)
    assert client.get("/tasks/OTH-2").json()["key"] == client.get("/tasks/APO-1").json()["key"]
    assert client.get("/tasks/APO-1").json()["key"] == "APO-3"


def test_assignee_who_cannot_see_the_new_project_is_unassigned(fixtures, as_, other):
    with inside(fixtures.acme):
        assign_task(fixtures.ada, fixtures.task, fixtures.carl.user)

    assert move(as_(fixtures.bob), "APO-1", other).json()["assignee"] is None


def test_assignee_who_can_see_the_new_project_stays(fixtures, as_, other):
    assert move(as_(fixtures.bob), "APO-1", other).json()["assignee"]["handle"] == "ada"


def test_moving_to_the_same_project_changes_nothing(fixtures, as_, events):
    assert move(as_(fixtures.bob), "APO-1", fixtures.apollo).json()["version"] == 1
    assert not events(fixtures.acme, verb="moved")


def test_taken_external_ref_is_a_conflict(fixtures, as_, other):
    with inside(fixtures.acme):
        create_task(fixtures.ada, other, title="x", external_ref="r")
        create_task(fixtures.ada, fixtures.apollo, title="x", external_ref="r")

    r = move(as_(fixtures.bob), "APO-2", other)

    assert (r.status_code, r.json()["code"]) == (409, "taken")


def test_moving_to_a_project_of_a_non_member_is_refused(fixtures, as_, other):
    assert move(as_(fixtures.carl), "APO-1", other).status_code == 422
    assert move(as_(fixtures.bob), "APO-1", fixtures.secret).status_code == 422


def test_action_requires_membership_in_both_projects(fixtures, other):
    with inside(fixtures.acme):
        for actor in (fixtures.carl, fixtures.eve):
            with pytest.raises(Forbidden):
                move_task(actor, fixtures.task, other)
        with pytest.raises(Forbidden):
            move_task(fixtures.eve, fixtures.task, fixtures.apollo)


def test_subtask_deleted_before_the_move_is_restored_without_parent(fixtures, as_, other):
    with inside(fixtures.acme):
        child = create_task(fixtures.ada, fixtures.apollo, title="child", parent=fixtures.task)
        delete_task(fixtures.ada, child)
    client = as_(fixtures.bob)
    move(client, "APO-1", other)

    assert client.post(f"/trash/task/{child.pk}/restoration").status_code == 200
    task = client.get(f"/tasks/{child.pk}").json()
    assert (task["parent_id"], task["project_id"]) == (None, fixtures.apollo.pk)
