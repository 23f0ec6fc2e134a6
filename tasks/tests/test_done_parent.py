"""An open task has no done parent, unless `force` was sent: the same rule in every operation."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections

from taskflow.tenancy import inside
from tasks.changes.tasks import complete_task, create_task, delete_task
from tasks.models import Task

pytestmark = pytest.mark.one_database


@pytest.fixture
def family(fixtures):
    """A done parent, its done subtask and its subtask in the trash, and an open task beside it."""
    with inside(fixtures.acme):
        rows = {
            name: create_task(fixtures.ada, fixtures.apollo, title=name)
            for name in ("parent", "beside")
        }
        for name in ("done", "gone"):
            rows[name] = create_task(
                fixtures.ada, fixtures.apollo, title=name, parent=rows["parent"]
            )
        complete_task(fixtures.ada, rows["done"])
        delete_task(fixtures.ada, rows["gone"])
        complete_task(fixtures.ada, rows["parent"])
    return rows


def bulk(operation):
    return "post", "/tasks/bulk", {"operations": [operation]}


def requests(fixtures, family):
    """Requests that each would leave an open task below the done parent, by name."""
    ids = {name: task.pk for name, task in family.items()}
    new = {"project_id": fixtures.apollo.pk, "title": "new", "parent_id": ids["parent"]}
    return {
        "create": ("post", "/tasks", new),
        "reopen": ("delete", f"/tasks/{ids['done']}/completion", None),
        "set the status": ("patch", f"/tasks/{ids['done']}", {"status": "in_progress"}),
        "set the parent": ("patch", f"/tasks/{ids['beside']}", {"parent_id": ids["parent"]}),
        "set both": (
            "patch",
            f"/tasks/{ids['done']}",
            {"status": "todo", "parent_id": ids["parent"]},
        ),
        "upsert": (
            "put",
            "/projects/APO/tasks/by-ref/r",
            {"title": "new", "parent_id": ids["parent"]},
        ),
        "restore": ("post", f"/trash/task/{ids['gone']}/restoration", None),
        "bulk create": bulk({"op": "create", "data": new}),
        "bulk reopen": bulk({"op": "reopen", "id": ids["done"]}),
        "bulk update": bulk({"op": "update", "id": ids["done"], "data": {"status": "todo"}}),
    }


NAMES = [
    "create", "reopen", "set the status", "set the parent", "set both", "upsert", "restore",
    "bulk create", "bulk reopen", "bulk update",
]  # fmt: skip


def open_below_done(fixtures):
    with inside(fixtures.acme):
        rows = Task.objects.exclude(status="done").filter(parent__status="done")
        return list(rows.values_list("title", flat=True))


@pytest.mark.parametrize("name", NAMES)
def test_open_task_below_a_done_parent_is_refused(fixtures, as_, family, name):
    method, path, body = requests(fixtures, family)[name]

    r = getattr(as_(fixtures.ada), method)(path, body)

    assert (r.status_code, r.json()["code"]) == (409, "parent_done")
    assert "force=true" in r.json()["detail"]
    assert open_below_done(fixtures) == []


@pytest.mark.parametrize("name", ["reopen", "set the status", "set the parent"])
def test_open_task_below_a_done_parent_can_be_forced(fixtures, as_, family, name):
    method, path, body = requests(fixtures, family)[name]

    r = getattr(as_(fixtures.ada), method)(f"{path}?force=true", body)

    assert r.status_code in (200, 201)
    assert len(open_below_done(fixtures)) == 1


def test_new_task_below_a_done_parent_can_be_forced(fixtures, as_, family):
    _, path, body = requests(fixtures, family)["create"]

    assert as_(fixtures.ada).post(path, body | {"force": True}).status_code == 201
    assert len(open_below_done(fixtures)) == 1


@pytest.mark.parametrize("op", ["create", "reopen", "update"])
def test_bulk_operation_below_a_done_parent_can_be_forced(fixtures, as_, family, op):
    _, path, body = requests(fixtures, family)[f"bulk {op}"]
    operation = body["operations"][0]
    (operation["data"] if op == "create" else operation)["force"] = True

    assert as_(fixtures.ada).post(path, body).status_code == 200
    assert len(open_below_done(fixtures)) == 1


@pytest.mark.parametrize("order", [1, -1])
def test_bulk_request_reopens_a_parent_and_its_subtask_in_any_order(fixtures, as_, family, order):
    operations = [{"op": "reopen", "id": family[name].pk} for name in ("parent", "done")][::order]

    r = as_(fixtures.ada).post("/tasks/bulk", {"operations": operations})

    assert (r.status_code, r.json()["succeeded"]) == (200, 2)


def test_done_task_may_be_created_or_put_below_a_done_parent(fixtures, as_, family):
    client = as_(fixtures.ada)
    body = {"project_id": fixtures.apollo.pk, "title": "n", "parent_id": family["parent"].pk}

    assert client.post("/tasks", body | {"status": "done"}).status_code == 201
    r = client.patch(
        f"/tasks/{family['beside'].pk}", {"status": "done", "parent_id": family["parent"].pk}
    )
    assert r.status_code == 200


def test_field_of_an_open_task_below_a_done_parent_can_change(fixtures, as_, family):
    client = as_(fixtures.ada)
    client.delete(f"/tasks/{family['done'].pk}/completion?force=true")

    for body in ({"title": "x"}, {"status": "in_progress"}, {"parent_id": family["parent"].pk}):
        assert client.patch(f"/tasks/{family['done'].pk}", body).status_code == 200


def test_undo_does_not_open_a_task_below_a_parent_that_was_completed_since(fixtures, as_, family):
    client = as_(fixtures.ada)
    client.delete(f"/tasks/{family['parent'].pk}/completion")
    client.delete(f"/tasks/{family['done'].pk}/completion")
    request_id = client.post(f"/tasks/{family['done'].pk}/completion").headers["X-Request-Id"]
    client.post(f"/tasks/{family['parent'].pk}/completion")

    r = client.post("/undo", {"request_id": request_id})

    assert (r.status_code, r.json()["errors"][0]["code"]) == (409, "parent_done")
    assert open_below_done(fixtures) == []


def test_undo_restores_a_state_that_was_forced(fixtures, as_, family):
    client = as_(fixtures.ada)
    client.delete(f"/tasks/{family['done'].pk}/completion?force=true")
    request_id = client.post(f"/tasks/{family['done'].pk}/completion").headers["X-Request-Id"]

    assert client.post("/undo", {"request_id": request_id}).status_code == 200
    assert open_below_done(fixtures) == ["done"]


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_reopening_a_subtask_while_its_parent_is_completed_keeps_the_rule(fixtures, as_, family):
    client = as_(fixtures.ada)

    def call(method, path):
        try:
            return getattr(as_(fixtures.ada), method)(path).status_code
        finally:
            connections.close_all()

    for _ in range(10):
        client.delete(f"/tasks/{family['parent'].pk}/completion")
        client.post(f"/tasks/{family['done'].pk}/completion")
        with ThreadPoolExecutor() as pool:
            answers = [
                pool.submit(call, "delete", f"/tasks/{family['done'].pk}/completion"),
                pool.submit(call, "post", f"/tasks/{family['parent'].pk}/completion"),
            ]
        assert sorted(answer.result() for answer in answers) == [200, 409]
        assert open_below_done(fixtures) == []
        client.post(f"/tasks/{family['done'].pk}/completion")
