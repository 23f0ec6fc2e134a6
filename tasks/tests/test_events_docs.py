"""The program in docs/events.md keeps a copy of a project's tasks that equals the list."""

from __future__ import annotations

import re
from pathlib import Path

from conftest import ApiClient
from taskflow.tenancy import inside
from tasks.actions.projects import create_project, delete_project
from tasks.changes.tasks import complete_task, create_task, delete_task, move_task
from tasks.models import Project, Task

PAGE = Path(__file__).parents[2] / "docs" / "events.md"


def load_program():
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    names: dict[str, object] = {}
    exec(code, names)
    return names["load"], names["follow"]


def getter(client: ApiClient):
    def get(path):
        response = client.get(path)
        assert response.status_code in (200, 404, 410, 422), response.content
        return response.json() if response.status_code == 200 else None

    return get


def test_program_of_the_documentation_follows_a_project(fixtures, as_):
    load, follow = load_program()
    get = getter(as_(fixtures.ada))
    project = get("/projects/APO")
    tasks, cursor = load(get, project)
    assert [t["key"] for t in tasks.values()] == ["APO-1"]
    with inside(fixtures.acme):
        zeus = create_project(fixtures.ada, name="Zeus", key="ZEU")
        ours = [create_task(fixtures.ada, fixtures.apollo, title=f"t{n}") for n in range(4)]
        complete_task(fixtures.ada, ours[0])
        delete_task(fixtures.ada, ours[1])
        move_task(fixtures.ada, Task.objects.get(pk=ours[2].pk), zeus)
        move_task(fixtures.ada, create_task(fixtures.ada, zeus, title="Ours"), fixtures.apollo)

    tasks, cursor = follow(get, project, tasks, cursor)

    listed = get("/tasks?project=APO")["data"]
    assert sorted(tasks) == sorted(task["id"] for task in listed)
    assert list(map(tasks.get, (t["id"] for t in listed))) == listed
    with inside(fixtures.acme):
        delete_project(fixtures.ada, Project.objects.get(pk=fixtures.apollo.pk))
    assert follow(get, project, tasks, cursor)[0] == {}
