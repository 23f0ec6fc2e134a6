"""An undo and a restoration keep the rule that an open task has no done parent."""

from __future__ import annotations

import pytest
from django.db import transaction
from django.test import Client
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from accounts.tests.factories import UserFactory
from conftest import PASSWORD
from taskflow.tenancy import inside
from tasks.models import Task
from tasks.tests.factories import ProjectFactory, TaskFactory

pytestmark = pytest.mark.one_database


@pytest.fixture
def call(fixtures, as_):
    """A function that sends a request of Ada and returns its request id."""
    client = as_(fixtures.ada)

    def send(method, path, body=None):
        r = getattr(client, method)(path, body)
        assert r.status_code < 300, r.content
        return r.headers["X-Request-Id"]

    return send


@pytest.fixture
def undo(fixtures, as_):
    client = as_(fixtures.ada)

    def send(request_id, query="", **body):
        return client.post(f"/undo{query}", {"request_id": request_id, **body})

    return send


@pytest.fixture
def family(fixtures):
    """The ids of an open parent and its open subtask."""
    with inside(fixtures.acme):
        parent = TaskFactory(actor=fixtures.ada, project=fixtures.apollo, title="parent")
        child = TaskFactory(
            actor=fixtures.ada, project=fixtures.apollo, title="child", parent=parent
        )
    return parent.pk, child.pk


def open_below_done(fixtures):
    with inside(fixtures.acme):
        rows = Task.objects.exclude(status="done").filter(parent__status="done")
        return list(rows.values_list("title", flat=True))


def refusals(r):
    return r.status_code, [error["code"] for error in r.json().get("errors", [])]


@pytest.fixture
def reopened(call, family):
    """The request that reopened the done parent, whose subtask was opened afterwards."""
    parent, child = family
    call("post", f"/tasks/{child}/completion")
    call("post", f"/tasks/{parent}/completion")
    request_id = call("delete", f"/tasks/{parent}/completion")
    call("delete", f"/tasks/{child}/completion")
    return request_id


def test_undo_does_not_complete_a_parent_whose_subtask_is_open_now(fixtures, reopened, undo):
    r = undo(reopened)

    assert refusals(r) == (409, ["open_work"])
    assert "open subtask" in r.json()["errors"][0]["detail"]
    assert "force=true" in r.json()["errors"][0]["detail"]
    assert open_below_done(fixtures) == []


@pytest.mark.parametrize(("query", "body"), [("?force=true", {}), ("", {"force": True})])
def test_undo_completes_a_parent_with_an_open_subtask_if_forced(
    fixtures, reopened, undo, query, body
):
    assert undo(reopened, query, **body).status_code == 200
    assert open_below_done(fixtures) == ["child"]


def test_undo_that_skips_conflicts_leaves_the_parent_open(fixtures, reopened, undo):
    r = undo(reopened, on_conflict="skip")

    assert (r.status_code, r.json()["undone"]) == (200, [])
    assert [row["code"] for row in r.json()["left_out"]] == ["open_work"]
    assert open_below_done(fixtures) == []


def test_undo_does_not_complete_a_parent_that_has_got_an_open_subtask(fixtures, call, undo, family):
    parent, child = family
    call("post", f"/tasks/{child}/completion")
    call("post", f"/tasks/{parent}/completion")
    request_id = call("patch", f"/tasks/{parent}", {"status": "in_progress"})
    body = {"project_id": fixtures.apollo.pk, "title": "new", "parent_id": parent}
    call("post", "/tasks", body)

    assert refusals(undo(request_id)) == (409, ["open_work"])


def test_undo_does_not_open_a_task_below_a_parent_that_an_undo_has_completed(
    fixtures, call, undo, family
):
    parent, child = family
    call("post", f"/tasks/{child}/completion")
    call("post", f"/tasks/{parent}/completion")
    reopening = call("delete", f"/tasks/{parent}/completion")
    call("delete", f"/tasks/{child}/completion")
    completion = call("post", f"/tasks/{child}/completion")
    assert undo(reopening).status_code == 200  # with the first completed_at

    assert refusals(undo(completion)) == (409, ["parent_done"])
    assert open_below_done(fixtures) == []


@pytest.mark.parametrize("verb", ["deletion", "move", "parent"])
def test_undo_does_not_put_an_open_task_below_a_parent_completed_since(
    fixtures, call, undo, family, verb
):
    parent, child = family
    if verb == "deletion":
        request_id = call("delete", f"/tasks/{child}")
    elif verb == "move":
        with inside(fixtures.acme):
            elsewhere = ProjectFactory(actor=fixtures.ada, name="Elsewhere").pk
        request_id = call("post", f"/tasks/{child}/move", {"project_id": elsewhere})
    else:
        request_id = call("patch", f"/tasks/{child}", {"parent_id": None})
    call("post", f"/tasks/{parent}/completion")

    r = undo(request_id)

    assert refusals(r) == (409, ["parent_done"])
    assert "Reopen it first, or send force=true" in r.json()["errors"][0]["detail"]
    assert undo(request_id, "?force=true").status_code == 200
    assert open_below_done(fixtures) == ["child"]


def test_task_is_not_restored_below_a_parent_that_an_undo_has_completed(
    fixtures, as_, call, undo, family
):
    parent, child = family
    call("post", f"/tasks/{child}/completion")
    call("post", f"/tasks/{parent}/completion")
    reopening = call("delete", f"/tasks/{parent}/completion")
    call("delete", f"/tasks/{child}/completion")
    call("delete", f"/tasks/{child}")
    assert undo(reopening).status_code == 200  # with the first completed_at

    r = as_(fixtures.ada).post(f"/trash/task/{child}/restoration")

    assert (r.status_code, r.json()["code"]) == (409, "parent_done")
    forced = as_(fixtures.ada).post(f"/trash/task/{child}/restoration?force=true")
    assert forced.status_code == 200
    assert open_below_done(fixtures) == ["child"]


def test_undo_in_the_trash_keeps_the_rule_among_tasks_deleted_together(
    fixtures, call, undo, family
):
    parent, child = family
    call("post", f"/tasks/{child}/completion")
    call("post", f"/tasks/{parent}/completion")
    reopening = call("delete", f"/tasks/{parent}/completion")
    call("delete", f"/tasks/{child}/completion")
    call("delete", f"/tasks/{parent}")

    assert refusals(undo(reopening)) == (409, ["open_work"])


def test_undo_restores_a_parent_that_was_completed_by_force(fixtures, call, undo, family):
    parent, _child = family
    call("post", f"/tasks/{parent}/completion?force=true")
    request_id = call("delete", f"/tasks/{parent}/completion")

    assert undo(request_id).status_code == 200
    assert open_below_done(fixtures) == ["child"]


def test_undo_of_another_field_ignores_what_was_forced_since(fixtures, call, undo, family):
    parent, child = family
    renaming = call("patch", f"/tasks/{child}", {"title": "renamed", "status": "in_progress"})
    call("post", f"/tasks/{parent}/completion?force=true")

    assert undo(renaming).status_code == 200
    assert open_below_done(fixtures) == ["child"]


def test_undo_does_not_complete_a_project_that_has_open_tasks_now(fixtures, as_, call, undo):
    with inside(fixtures.acme):
        project = ProjectFactory(actor=fixtures.ada, name="Empty")
    call("patch", f"/projects/{project.pk}", {"status": "completed"})
    request_id = call("patch", f"/projects/{project.pk}", {"status": "active"})
    call("post", "/tasks", {"project_id": project.pk, "title": "new"})

    r = undo(request_id)

    assert refusals(r) == (409, ["open_work"])
    assert "The project has 1 open task" in r.json()["errors"][0]["detail"]
    assert undo(request_id, "?force=true").status_code == 200
    assert as_(fixtures.ada).get(f"/projects/{project.pk}").json()["status"] == "completed"


def test_admin_undoes_what_leaves_open_work_only_if_forced(fixtures, reopened):
    with inside(fixtures.acme):
        UserFactory(actor=fixtures.boss, handle="root", password=PASSWORD, is_staff=True)
    client = Client(SERVER_NAME="acme.localhost")
    client.post("/admin/login/", {"username": "root@acme.example", "password": PASSWORD})
    form = {"request_id": reopened, "actor": str(fixtures.ada.user.pk)}

    refused = client.post("/admin/audit/event/undo/", form).content.decode()
    planned = client.post("/admin/audit/event/undo/", form | {"force": "on"}).content.decode()

    assert "has an open subtask" in refused
    assert "1 change would be undone" in planned
    assert 'name="force" value="True"' in planned
    assert open_below_done(fixtures) == []


# ---- every sequence ------------------------------------------------------------------------------

TASKS = st.integers(0, 1)
VERBS = st.tuples(
    st.sampled_from(["complete", "reopen", "reopen", "delete", "restore", "parent"]), TASKS
)
UNDOS = st.tuples(st.just("undo"), st.integers(0, 3))
STEPS = st.lists(VERBS | VERBS | UNDOS, min_size=4, max_size=12)


def request_of(ids, verb, n):
    """Return the method, path and body of a step that is not an undo."""
    path = f"/tasks/{ids[n]}"
    return {
        "complete": ("post", f"{path}/completion", None),
        "reopen": ("delete", f"{path}/completion", None),
        "delete": ("delete", path, None),
        "restore": ("post", f"/trash/task/{ids[n]}/restoration", None),
        "parent": ("patch", f"/tasks/{ids[1]}", {"parent_id": ids[0] if n else None}),
    }[verb]


@pytest.mark.slow
def test_no_sequence_of_verbs_and_undos_puts_an_open_task_below_a_done_parent(fixtures, as_):
    client = as_(fixtures.ada)

    @settings(
        max_examples=120,
        phases=[Phase.generate],
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(STEPS, st.sampled_from(["refuse", "skip"]))
    def check(steps, on_conflict):
        with transaction.atomic():
            with inside(fixtures.acme):
                rows = [TaskFactory(actor=fixtures.ada, project=fixtures.apollo) for _ in range(2)]
            ids = [row.pk for row in rows]
            sent = []
            for verb, n in [("parent", 1), ("complete", 1), ("complete", 0), *steps]:
                if verb == "undo":
                    request_id = sent[-1 - n % len(sent)]
                    body = {"request_id": request_id, "on_conflict": on_conflict}
                    r = client.post("/undo", body)
                else:
                    method, path, body = request_of(ids, verb, n)
                    r = getattr(client, method)(path, body)
                assert r.status_code < 500
                if r.status_code < 300:
                    sent.append(r.headers["X-Request-Id"])
                assert open_below_done(fixtures) == [], steps
            transaction.set_rollback(True)

    check()
