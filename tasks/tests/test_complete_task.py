from __future__ import annotations


def complete(client, task):
    return client.post(f"/tasks/{task.pk}/completion")


def test_completing_a_task_sets_it_to_done_and_records_it(fixtures, as_, events):
    r = complete(as_(fixtures.bob), fixtures.task)

    assert r.status_code == 200
    assert (r.json()["status"], r.json()["completed"], r.json()["version"]) == ("done", True, 2)
    assert r.json()["completed_at"] is not None
    event = events(fixtures.acme, subject_type="task")[-1]
    assert (event.verb, event.actor_id, event.via) == ("completed", fixtures.bob.user.pk, "api")
    assert event.changes["status"] == ["todo", "done"]


def test_completing_a_done_task_changes_nothing(fixtures, as_, events):
    first = complete(as_(fixtures.bob), fixtures.task).json()

    again = complete(as_(fixtures.bob), fixtures.task)

    assert again.json() == first
    assert [e.verb for e in events(fixtures.acme, subject_type="task")] == ["created", "completed"]


def test_completed_task_can_be_reopened(fixtures, as_):
    complete(as_(fixtures.bob), fixtures.task)

    r = as_(fixtures.bob).delete(f"/tasks/{fixtures.task.pk}/completion")

    assert (r.json()["status"], r.json()["completed_at"]) == ("todo", None)


def test_read_only_token_is_refused(fixtures, as_):
    r = complete(as_(fixtures.bob, "read"), fixtures.task)

    assert (r.status_code, r.json()["code"]) == (403, "insufficient_scope")


def test_project_of_a_non_member_is_not_found(fixtures, as_):
    assert complete(as_(fixtures.eve), fixtures.task).status_code == 404


def test_row_of_another_tenant_is_not_found(fixtures, as_):
    assert complete(as_(fixtures.mallory), fixtures.task).status_code == 404
