"""Blockers of tasks: without circles, in any visible project."""

from __future__ import annotations

import pytest

from taskflow.tenancy import inside
from tasks.actions.members import add_member
from tasks.actions.projects import create_project
from tasks.changes.tasks import complete_task, create_task, delete_task, update_task

pytestmark = pytest.mark.one_database


@pytest.fixture
def chain(fixtures):
    """c is blocked by b, which is blocked by a."""
    with inside(fixtures.acme):
        a = create_task(fixtures.ada, fixtures.apollo, title="a")
        b = create_task(fixtures.ada, fixtures.apollo, title="b", blocked_by=[a])
        c = create_task(fixtures.ada, fixtures.apollo, title="c", blocked_by=[b])
    return a, b, c


@pytest.fixture
def elsewhere(fixtures):
    """A task of a project that Bob cannot see."""
    with inside(fixtures.acme):
        project = create_project(fixtures.ada, name="Other", key="OTH")
        return create_task(fixtures.ada, project, title="hidden")


def test_task_can_be_created_with_blockers(fixtures, as_, events):
    body = {"project_id": fixtures.apollo.pk, "title": "x", "blocked_by": [fixtures.task.pk] * 2}

    task = as_(fixtures.bob).post("/tasks", body).json()

    assert (task["blocked_by"], task["ready"]) == ([fixtures.task.pk], False)
    assert events(fixtures.acme, verb="created")[-1].changes["blocked_by"] == [
        [],
        [fixtures.task.pk],
    ]


def test_updating_blockers_replaces_and_records_them(fixtures, as_, events, chain):
    a, b, c = chain

    task = as_(fixtures.bob).patch(f"/tasks/{c.pk}", {"blocked_by": [a.pk]}).json()

    assert (task["blocked_by"], task["version"]) == ([a.pk], 2)
    assert events(fixtures.acme, verb="changed")[-1].changes == {"blocked_by": [[b.pk], [a.pk]]}


def test_task_is_ready_if_open_and_not_blocked(fixtures, as_, chain):
    client = as_(fixtures.bob)

    def ready(value):
        return [t["title"] for t in client.get(f"/tasks?ready={value}&sort=number").json()["data"]]

    assert (ready("true"), ready("false")) == (["Launch", "a"], ["b", "c"])
    client.post(f"/tasks/{chain[0].pk}/completion")
    assert (ready("true"), ready("false")) == (["Launch", "b"], ["a", "c"])
    assert {t["title"] for t in client.get("/tasks").json()["data"] if t["ready"]} == {
        "Launch",
        "b",
    }


def test_blocker_in_the_trash_does_not_block(fixtures, as_, chain):
    with inside(fixtures.acme):
        delete_task(fixtures.ada, chain[0])

    task = as_(fixtures.bob).get(f"/tasks/{chain[1].pk}").json()

    assert (task["ready"], task["blocked_by"]) == (True, [])


@pytest.mark.parametrize("waits", [0, 1, 2])
def test_circle_of_blockers_is_refused(fixtures, as_, chain, waits):
    r = as_(fixtures.bob).patch(f"/tasks/{chain[waits].pk}", {"blocked_by": [chain[2].pk]})

    assert (r.status_code, r.json()["code"]) == (409, "cycle")


def test_circle_through_a_deleted_task_is_refused(fixtures, as_, chain):
    """Restoring b would close the circle."""
    with inside(fixtures.acme):
        delete_task(fixtures.ada, chain[1])

    r = as_(fixtures.bob).patch(f"/tasks/{chain[0].pk}", {"blocked_by": [chain[2].pk]})

    assert r.status_code == 409


def test_blocker_in_an_invisible_project_is_unknown(fixtures, as_, elsewhere):
    for pk in (elsewhere.pk, fixtures.secret_task.pk, 10**9):
        r = as_(fixtures.bob).patch("/tasks/APO-1", {"blocked_by": [fixtures.task.pk + 10**6, pk]})

        assert r.status_code == 422
        assert r.json()["errors"][0]["pointer"] == "#/blocked_by/0"
    assert (
        as_(fixtures.ada).patch("/tasks/APO-1", {"blocked_by": [elsewhere.pk]}).status_code == 200
    )


def test_present_blocker_in_an_invisible_project_can_be_kept(fixtures, as_, elsewhere):
    with inside(fixtures.acme):
        update_task(fixtures.ada, fixtures.task, blocked_by=[elsewhere])
    client = as_(fixtures.bob)

    shown = client.get("/tasks/APO-1").json()["blocked_by"]

    assert shown == [elsewhere.pk]
    assert client.patch("/tasks/APO-1", {"blocked_by": shown}).status_code == 200


# ---- completing ---------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["completion", "patch"])
def test_completing_a_blocked_task_is_refused_with_a_list_of_open_tasks(fixtures, as_, chain, way):
    client = as_(fixtures.bob)
    with inside(fixtures.acme):
        child = create_task(fixtures.ada, fixtures.apollo, title="child", parent=chain[1])

    def complete(query=""):
        if way == "patch":
            return client.patch(f"/tasks/{chain[1].pk}{query}", {"status": "done"})
        return client.post(f"/tasks/{chain[1].pk}/completion{query}")

    r = complete()

    assert (r.status_code, r.json()["code"]) == (409, "open_work")
    assert r.json()["errors"] == [
        {
            "code": "open_subtask",
            "detail": f"The subtask APO-{child.number} “child” is open.",
            "task_id": child.pk,
        },
        {
            "code": "open_blocker",
            "detail": f"The blocker APO-{chain[0].number} “a” is open.",
            "task_id": chain[0].pk,
        },
    ]
    assert client.get(f"/tasks/{chain[1].pk}").json()["status"] == "todo"
    assert complete("?force=true").json()["completed"] is True
    assert complete().status_code == 200, "done already"


def test_refusal_contains_no_titles_of_invisible_tasks(fixtures, as_, elsewhere):
    with inside(fixtures.acme):
        update_task(fixtures.ada, fixtures.task, blocked_by=[elsewhere])

    bobs, adas = (
        as_(actor).post("/tasks/APO-1/completion").json()["errors"][0]["detail"]
        for actor in (fixtures.bob, fixtures.ada)
    )

    assert bobs == f"The blocker task {elsewhere.pk} is open."
    assert adas == "The blocker OTH-1 “hidden” is open."


def test_completion_is_checked_with_the_blockers_of_the_same_change(fixtures, as_, chain):
    a, b, _c = chain
    client = as_(fixtures.bob)

    r = client.patch("/tasks/APO-1", {"status": "done", "blocked_by": [a.pk]})
    assert r.status_code == 409
    assert client.patch(f"/tasks/{b.pk}", {"status": "done", "blocked_by": []}).status_code == 200


def test_task_with_done_blockers_and_subtasks_can_be_completed(fixtures, as_, chain):
    with inside(fixtures.acme):
        child = create_task(fixtures.ada, fixtures.apollo, title="child", parent=chain[1])
        complete_task(fixtures.ada, child)
        complete_task(fixtures.ada, chain[0])

    assert as_(fixtures.bob).post(f"/tasks/{chain[1].pk}/completion").status_code == 200


# ---- all of a project ---------------------------------------------------------------------------


def test_completing_a_project_completes_all_its_tasks(fixtures, as_, events, chain):
    client = as_(fixtures.bob)

    r = client.post("/projects/APO/completion")

    assert (r.status_code, r.json()) == (200, {"completed": 4})
    done = events(fixtures.acme, verb="completed")
    assert len(done) == 4
    assert {e.request_id for e in done} == {r.headers["X-Request-Id"]}
    assert all(e.changes["status"] == ["todo", "done"] for e in done)
    assert client.get("/tasks?status_not=done").json()["data"] == []
    assert client.post("/projects/APO/completion").json() == {"completed": 0}


def test_completing_a_project_is_refused_while_other_projects_block_it(fixtures, as_, elsewhere):
    with inside(fixtures.acme):
        add_member(fixtures.ada, elsewhere.project, user=fixtures.carl.user)
        update_task(fixtures.ada, fixtures.task, blocked_by=[elsewhere])
    client = as_(fixtures.bob)

    r = client.post("/projects/APO/completion")

    assert (r.status_code, r.json()["code"]) == (409, "open_work")
    assert r.json()["errors"][0]["detail"] == f"APO-1 is blocked by task {elsewhere.pk}."
    assert client.post("/projects/APO/completion?force=true").json() == {"completed": 1}
