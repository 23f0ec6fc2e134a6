from __future__ import annotations

import pytest


def reopen(client, task):
    return client.delete(f"/tasks/{task.pk}/completion")


def test_reopening_a_done_task_sets_it_to_todo(fixtures, as_, events):
    client = as_(fixtures.bob)
    client.post("/tasks/APO-1/completion")

    r = reopen(client, fixtures.task)

    assert (r.status_code, r.json()["status"], r.json()["completed_at"]) == (200, "todo", None)
    assert (r.json()["completed"], r.json()["version"]) == (False, 3)
    event = events(fixtures.acme, subject_type="task")[-1]
    assert (event.verb, event.changes["status"]) == ("reopened", ["done", "todo"])
    assert event.changes["completed_at"][1] is None


@pytest.mark.parametrize("status", ["todo", "in_progress"])
def test_reopening_an_open_task_changes_nothing(fixtures, as_, events, status):
    client = as_(fixtures.bob)
    before = client.patch("/tasks/APO-1", {"status": status}).json()
    count = len(events(fixtures.acme))

    assert reopen(client, fixtures.task).json() == before
    assert len(events(fixtures.acme)) == count


def test_read_only_token_is_refused(fixtures, as_):
    assert reopen(as_(fixtures.bob, "read"), fixtures.task).status_code == 403


def test_project_of_a_non_member_is_not_found(fixtures, as_):
    for actor in (fixtures.eve, fixtures.mallory):
        assert reopen(as_(actor), fixtures.task).status_code == 404
