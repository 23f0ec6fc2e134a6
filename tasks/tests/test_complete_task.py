from __future__ import annotations


def complete(client, task):
    return client.post(f"/tasks/{task.pk}/completion")


def test_it_works(world, as_, events):
    r = complete(as_(world.bob), world.task)

    assert r.status_code == 200
    assert (r.json()["status"], r.json()["completed"], r.json()["version"]) == ("done", True, 2)
    assert r.json()["completed_at"] is not None
    event = events(world.acme, subject_type="task")[-1]
    assert (event.verb, event.actor_id, event.via) == ("completed", world.bob.user.pk, "api")
    assert event.changes["status"] == ["todo", "done"]


def test_it_does_nothing_twice(world, as_, events):
    first = complete(as_(world.bob), world.task).json()

    again = complete(as_(world.bob), world.task)

    assert again.json() == first
    assert [e.verb for e in events(world.acme, subject_type="task")] == ["created", "completed"]


def test_it_can_be_taken_back(world, as_):
    complete(as_(world.bob), world.task)

    r = as_(world.bob).delete(f"/tasks/{world.task.pk}/completion")

    assert (r.json()["status"], r.json()["completed_at"]) == ("todo", None)


def test_it_refuses_a_read_only_token(world, as_):
    r = complete(as_(world.bob, "read"), world.task)

    assert (r.status_code, r.json()["code"]) == (403, "insufficient_scope")


def test_it_hides_other_projects(world, as_):
    assert complete(as_(world.eve), world.task).status_code == 404


def test_it_hides_other_tenants(world, as_):
    assert complete(as_(world.mallory), world.task).status_code == 404
