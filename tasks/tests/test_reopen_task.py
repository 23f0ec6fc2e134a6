from __future__ import annotations

import pytest


def reopen(client, task):
    return client.delete(f"/tasks/{task.pk}/completion")


def test_reopening_a_done_task_sets_it_to_todo(world, as_, events):
    client = as_(world.bob)
    client.post("/tasks/APO-1/completion")

    r = reopen(client, world.task)

    assert (r.status_code, r.json()["status"], r.json()["completed_at"]) == (200, "todo", None)
    assert (r.json()["completed"], r.json()["version"]) == (False, 3)
    event = events(world.acme, subject_type="task")[-1]
    assert (event.verb, event.changes["status"]) == ("reopened", ["done", "todo"])
    assert event.changes["completed_at"][1] is None


@pytest.mark.parametrize("status", ["todo", "in_progress"])
def test_reopening_an_open_task_changes_nothing(world, as_, events, status):
    client = as_(world.bob)
    before = client.patch("/tasks/APO-1", {"status": status}).json()
    count = len(events(world.acme))

    assert reopen(client, world.task).json() == before
    assert len(events(world.acme)) == count


def test_read_only_token_is_refused(world, as_):
    assert reopen(as_(world.bob, "read"), world.task).status_code == 403


def test_project_of_a_non_member_is_not_found(world, as_):
    for actor in (world.eve, world.mallory):
        assert reopen(as_(actor), world.task).status_code == 404
