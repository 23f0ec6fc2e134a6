"""Requests about projects and their members, and CSV."""

from __future__ import annotations

from typing import Any

from accounts.tests.factories import UserFactory
from taskflow.tests.budgets.setup import Request, Setup
from taskflow.tests.budgets.tasks import list_tasks
from tasks.tests.factories import MemberFactory, ProjectFactory


def list_project_events(setup: Setup, rows: int) -> Request:
    for number in range(rows):
        setup.ada.patch("/projects/APO", {"name": f"Apollo {rows} {number}"})
    return lambda: setup.bob.get("/projects/APO/events?limit=200")


def list_events(setup: Setup, rows: int) -> Request:
    """All that happens in a project: events of it, of tasks and of comments."""
    list_project_events(setup, rows)
    for number in range(rows):
        task = setup.add_task().pk
        setup.ada.patch(f"/tasks/{task}", {"tags": [f"t{number}"]})
        setup.ada.post("/comments", {"task": "APO-1", "body": "x"})
    return lambda: setup.bob.get("/events?after=0&limit=200")


def list_events_with_filters(setup: Setup, rows: int) -> Request:
    list_events(setup, rows)
    query = "after=0&limit=200&project=APO&task=APO-1&actor=@ada&type=task.completed"
    return lambda: setup.bob.get(f"/events?{query}")


def list_no_events(setup: Setup, rows: int) -> Request:
    cursor = setup.bob.get("/events").json()["next_cursor"]
    return lambda: setup.bob.get(f"/events?after={cursor}")


def list_projects(setup: Setup, rows: int, query: str = "") -> Request:
    for _ in range(rows):
        setup.add_task(project=ProjectFactory(actor=setup.fixtures.ada))
    return lambda: setup.ada.get(f"/projects{query}")


def list_projects_with_count(setup: Setup, rows: int) -> Request:
    return list_projects(setup, rows, "?include=count")


def get_project(setup: Setup, rows: int) -> Request:
    setup.add_tasks(rows)
    return lambda: setup.ada.get("/projects/APO")


def get_unchanged_project(setup: Setup, rows: int) -> Request:
    headers = {"If-None-Match": setup.ada.get("/projects/APO").headers["ETag"]}
    return lambda: setup.ada.get("/projects/APO", headers=headers)


def create_project(setup: Setup, rows: int, **values: Any) -> Request:
    return lambda: setup.ada.post("/projects", {"name": "Web"} | values)


def create_project_with_key(setup: Setup, rows: int) -> Request:
    return create_project(setup, rows, key="KEY")


def create_project_with_tasks(setup: Setup, rows: int) -> Request:
    key = "FEW" if rows < 5 else "MANY"
    tasks = [{"title": "x", "subtasks": [{"title": "y", "tags": [key]}]}] * rows
    body = {"name": "Web", "key": key, "tasks": tasks}
    return lambda: setup.bob.post("/projects", body)


def update_project(setup: Setup, rows: int) -> Request:
    return lambda: setup.ada.patch("/projects/APO", {"name": "y"})


def delete_project(setup: Setup, rows: int) -> Request:
    project = setup.add_project()
    setup.add_tasks(rows, project=project, tags=["t"])
    return lambda: setup.ada.delete(f"/projects/{project.pk}")


def complete_project_tasks(setup: Setup, rows: int) -> Request:
    project, task = setup.add_project(), None
    for _ in range(rows):
        task = setup.add_task(project=project, blocked_by=[task] if task else [])
    return lambda: setup.bob.post(f"/projects/{project.pk}/completion")


def list_members(setup: Setup, rows: int) -> Request:
    for _ in range(rows):
        user = UserFactory(actor=setup.fixtures.boss)
        MemberFactory(actor=setup.fixtures.ada, project=setup.fixtures.apollo, user=user)
    return lambda: setup.bob.get("/projects/APO/members")


def add_member(setup: Setup, rows: int) -> Request:
    body = {"user_id": setup.fixtures.eve.user.pk}
    return lambda: setup.ada.post("/projects/APO/members", body)


def update_member(setup: Setup, rows: int) -> Request:
    member = setup.ada.post("/projects/APO/members", {"user_id": setup.fixtures.eve.user.pk}).json()
    return lambda: setup.ada.patch(f"/members/{member['id']}", {"role": "admin"})


def remove_member(setup: Setup, rows: int) -> Request:
    member = setup.ada.post("/projects/APO/members", {"user_id": setup.fixtures.eve.user.pk}).json()
    return lambda: setup.ada.delete(f"/members/{member['id']}")


def export_tasks(setup: Setup, rows: int) -> Request:
    list_tasks(setup, rows)
    return lambda: setup.bob.get("/projects/APO/tasks.csv")


def import_tasks_again(setup: Setup, rows: int) -> Request:
    """Import the export of a project: every row changes the task that it means."""
    project = setup.add_project()
    setup.add_tasks(rows, project=project, tags=["a"], blocked_by=[setup.add_task()])
    path = f"/projects/{project.pk}/tasks.csv"
    text = setup.bob.get(path).content.decode().replace(",todo,", ",in_progress,")
    path += "?on_existing=update"
    return lambda: setup.bob.generic("POST", path, text, content_type="text/csv")


def import_project(setup: Setup, rows: int) -> Request:
    setup.add_task(tags=["a", "b"])
    header = "Summary,Issue key,Labels,Labels,Assignee,Reporter,Created,Comment"
    line = "x,NEW-{0}-{1},a,b,@bob,@ada,01/Dec/26 9:30 AM,01/Dec/26 9:31 AM;@ada;hello"
    text = "\n".join([header, *(line.format(rows, n) for n in range(rows))])
    path = "/projects/APO/imports?profile=jira"
    return lambda: setup.boss.generic("POST", path, text, content_type="text/csv")


def import_tasks(setup: Setup, rows: int) -> Request:
    setup.add_task(tags=["a", "b"])
    text = "title,tags,assignee,parent\n" + "x,a;b,@bob,APO-1\n" * rows
    path = "/projects/APO/tasks.csv"
    return lambda: setup.bob.generic("POST", path, text, content_type="text/csv")


def get_member(setup: Setup, rows: int) -> Request:
    member = setup.ada.post("/projects/APO/members", {"user_id": setup.fixtures.eve.user.pk}).json()
    return lambda: setup.bob.get(f"/members/{member['id']}")
