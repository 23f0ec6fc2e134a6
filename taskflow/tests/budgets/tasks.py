"""Requests about tasks."""

from __future__ import annotations

from typing import Any

from taskflow.tests.budgets.setup import Request, Setup
from tasks.tests.factories import CommentFactory


def get_task(setup: Setup, rows: int) -> Request:
    setup.bob.patch("/tasks/APO-1", {"tags": [f"t{n}" for n in range(rows)]})
    return lambda: setup.bob.get("/tasks/APO-1")


def get_task_by_ref(setup: Setup, rows: int) -> Request:
    tags = [f"t{n}" for n in range(rows)]
    setup.bob.put(f"/projects/APO/tasks/by-ref/{rows}", {"title": "x", "tags": tags})
    return lambda: setup.bob.get(f"/projects/APO/tasks/by-ref/{rows}")


def get_task_with_comments(setup: Setup, rows: int) -> Request:
    for _ in range(rows):
        CommentFactory(actor=setup.fixtures.bob, task=setup.fixtures.task)
    return lambda: setup.bob.get("/tasks/APO-1?include=comments")


def get_unchanged_task(setup: Setup, rows: int) -> Request:
    headers = {"If-None-Match": setup.ada.get("/tasks/APO-1").headers["ETag"]}
    return lambda: setup.ada.get("/tasks/APO-1", headers=headers)


def list_tasks(setup: Setup, rows: int, query: str = "") -> Request:
    for number in range(rows):
        tags = [f"t{number % 4}", "all"]
        setup.add_task(tags=tags, assignee=setup.fixtures.bob.user)
    return lambda: setup.ada.get(f"/tasks{query}")


def list_filtered_tasks_with_count(setup: Setup, rows: int) -> Request:
    query = "?include=count&status=todo&tag=all&sort=-priority,due_on"
    return list_tasks(setup, rows, query)


def list_tasks_of_an_assignee(setup: Setup, rows: int) -> Request:
    return list_tasks(setup, rows, "?project=APO&assignee=@bob&parent_none=true&include=count")


def list_tasks_with_many_values(setup: Setup, rows: int) -> Request:
    users = "&assignee=@bob&assignee=@ada&assignee_not=@carl&assignee_not=@bot"
    return list_tasks(setup, rows, f"?project=APO&project=APO{users}")


def list_tasks_behind_a_cursor(setup: Setup, rows: int) -> Request:
    list_tasks(setup, rows)
    query = "/tasks?limit=1&sort=-priority,due_on"
    cursor = setup.ada.get(query).json()["next_cursor"]
    return lambda: setup.ada.get(f"{query}&limit=50&cursor={cursor}".replace("limit=1&", ""))


def list_found_tasks(setup: Setup, rows: int) -> Request:
    return list_tasks(setup, rows, "?q=launch")


def count_tasks(setup: Setup, rows: int) -> Request:
    list_tasks(setup, rows)
    return lambda: setup.ada.get("/tasks/counts?group_by=assignee&project=APO")


def create_task(setup: Setup, rows: int, **values: Any) -> Request:
    body = {"project_id": setup.fixtures.apollo.pk, "title": "x"} | values
    return lambda: setup.bob.post("/tasks", body)


def create_task_with_assignee(setup: Setup, rows: int) -> Request:
    return create_task(setup, rows, assignee_id=setup.fixtures.ada.user.pk)


def create_task_with_new_tags(setup: Setup, rows: int) -> Request:
    return create_task(setup, rows, tags=[f"new-{rows}-{n}" for n in range(rows)])


def create_task_with_tags(setup: Setup, rows: int) -> Request:
    setup.add_task(tags=[f"old-{n}" for n in range(rows)])
    return create_task(setup, rows, tags=[f"old-{n}" for n in range(rows)])


def update_task(setup: Setup, rows: int) -> Request:
    return lambda: setup.bob.patch("/tasks/APO-1", {"title": f"new {rows}"})


def update_task_to_done(setup: Setup, rows: int) -> Request:
    task = setup.add_task()
    return lambda: setup.bob.patch(f"/tasks/{task.pk}", {"status": "done"})


def update_task_without_change(setup: Setup, rows: int) -> Request:
    return lambda: setup.bob.patch("/tasks/APO-1", {"title": "Launch"})


def update_task_with_new_tags(setup: Setup, rows: int) -> Request:
    task = setup.add_task()
    tags = [f"added-{rows}-{n}" for n in range(rows)]
    return lambda: setup.bob.patch(f"/tasks/{task.pk}", {"tags": tags})


def update_task_to_fewer_tags(setup: Setup, rows: int) -> Request:
    task = setup.add_task(tags=["kept", *(f"removed-{n}" for n in range(rows))])
    return lambda: setup.bob.patch(f"/tasks/{task.pk}", {"tags": ["kept"]})


def update_task_of_current_version(setup: Setup, rows: int) -> Request:
    task = f"/tasks/{setup.add_task().pk}"
    headers = {"If-Match": setup.ada.get(task).headers["ETag"]}
    return lambda: setup.ada.patch(task, {"title": "b"}, headers=headers)


def update_task_of_older_version(setup: Setup, rows: int) -> Request:
    task = f"/tasks/{setup.add_task().pk}"
    headers = {"If-Match": setup.ada.get(task).headers["ETag"]}
    setup.ada.patch(task, {"title": "a"})
    return lambda: setup.ada.patch(task, {"description": "b"}, headers=headers)


def delete_task(setup: Setup, rows: int) -> Request:
    top = setup.add_task()
    setup.add_tasks(rows, parent=top, tags=["t"])
    return lambda: setup.bob.delete(f"/tasks/{top.pk}")


def complete_task(setup: Setup, rows: int) -> Request:
    task = setup.add_task()
    return lambda: setup.bob.post(f"/tasks/{task.pk}/completion")


def reopen_task(setup: Setup, rows: int) -> Request:
    complete_task(setup, rows)()
    task = setup.add_task()
    setup.bob.post(f"/tasks/{task.pk}/completion")
    return lambda: setup.bob.delete(f"/tasks/{task.pk}/completion")


def assign_task(setup: Setup, rows: int) -> Request:
    task, body = setup.add_task(), {"assignee_id": setup.fixtures.carl.user.pk}
    return lambda: setup.bob.post(f"/tasks/{task.pk}/assignment", body)


def move_task(setup: Setup, rows: int) -> Request:
    top, other = setup.add_task(), setup.add_project()
    setup.add_tasks(rows, parent=top)
    return lambda: setup.bob.post(f"/tasks/{top.pk}/move", {"project_id": other.pk})


def upsert_new_task(setup: Setup, rows: int) -> Request:
    return lambda: setup.bob.put(f"/projects/APO/tasks/by-ref/{rows}", {"title": "x"})


def upsert_task(setup: Setup, rows: int) -> Request:
    upsert_new_task(setup, rows)()
    return lambda: setup.bob.put(f"/projects/APO/tasks/by-ref/{rows}", {"title": f"y{rows}"})


def bulk_edit_tasks(setup: Setup, rows: int) -> Request:
    """Every operation of bulk requests, each for `rows` tasks."""
    fixtures, other = setup.fixtures, setup.add_project()
    setup.add_task(tags=["t"])
    data = {"project_id": fixtures.apollo.pk, "title": "x", "tags": ["t"]}
    create = {"op": "create", "data": data | {"assignee_id": fixtures.carl.user.pk}}
    operations = [create] * rows
    for op, values in (
        ("update", {"title": "y"}),
        ("complete", None),
        ("move", {"project_id": other.pk}),
        ("assign", {"assignee_id": fixtures.bot.user.pk}),
        ("delete", None),
    ):
        for task in setup.add_tasks(rows):
            operations.append({"op": op, "id": task.pk} | ({"data": values} if values else {}))
    return lambda: setup.bob.post("/tasks/bulk", {"operations": operations})


def list_task_events(setup: Setup, rows: int) -> Request:
    for number in range(rows):
        other = setup.add_task().pk
        body = {"title": f"t{number}", "tags": [f"t{number}"], "blocked_by": [other]}
        setup.ada.patch("/tasks/APO-1", body | {"assignee_id": setup.fixtures.bob.user.pk})
        setup.ada.patch("/tasks/APO-1", {"assignee_id": setup.fixtures.ada.user.pk})
    return lambda: setup.bob.get("/tasks/APO-1/events?limit=200")
