"""What the database builds is what pydantic would say, on both databases."""

from __future__ import annotations

import json
from datetime import date, datetime

import pytest

from accounts.tenancy import inside
from taskflow.openapi import Encoder
from tasks.actions.projects import create_project
from tasks.actions.tasks import create_task, move_task, update_task
from tasks.documents import found_task
from tasks.models import Task
from tasks.schemas.tasks import TaskResponse

ODD = [
    {"title": "plain"},
    {"title": 'ü 🚀 \u2028 \\ "quotes" \t\n </script> %s %(x)s {}', "description": "'; --\n\x7f"},
    {"title": "x" * 500, "description": "y" * 65_536},
    {"title": "days", "due_on": date(1970, 1, 1)},
    {"title": "days", "due_on": date(2199, 12, 31)},
    {"title": "instants", "due_date": datetime.fromisoformat("1970-01-01T00:00:00+00:00")},
    {"title": "instants", "due_date": datetime.fromisoformat("2199-12-31T23:59:59.999999+00:00")},
    {"title": "instants", "due_date": datetime.fromisoformat("2026-12-01T08:00:00.120000+00:00")},
    {"title": "numbers", "metadata": {"a": 2**63 - 1, "b": -(2**63), "c": 1.5, "d": 1e-7}},
    {"title": "json", "metadata": {"": None, "a": [], "b": {}, "c": [True, False, 0, 1, "1"]}},
    {"title": "json", "metadata": {'ü"': {"deep": [[[{"x": "\u0001\n"}]]]}}},
    {"title": "done", "status": "done", "priority": "high"},
    {"title": "tags", "tags": ["b", "A", "ü", "a b"]},
    {"title": "ref", "external_ref": "r-1", "priority": "low"},
]


@pytest.fixture
def acme(world):
    """All that a task can be."""
    with inside(world.acme):
        for values in ODD:
            create_task(world.ada, world.apollo, **values)
        update_task(world.ada, Task.objects.get(title="plain"), assignee=world.bob.user)
        blocker = Task.objects.get(title="ref")
        hidden = create_project(world.boss, name="Hidden", key="HID")
        moved = create_task(world.boss, hidden, title="moved", blocked_by=[blocker])
        done = Task.objects.get(title="done")
        update_task(world.boss, world.task, blocked_by=[blocker, moved, done], parent=blocker)
        update_task(world.boss, Task.objects.get(title="tags"), blocked_by=[done])
        move_task(world.boss, blocker, hidden)
        yield world


def by_pydantic(pk):
    task = Task.objects.with_details().get(pk=pk)
    return json.loads(json.dumps(TaskResponse.from_orm(task).model_dump(), cls=Encoder))


@pytest.mark.parametrize("who", ["boss", "ada"])
def test_each_task_is_the_same_both_ways(acme, who):
    actor = getattr(acme, who)
    ids = list(Task.objects.visible_to(actor).values_list("pk", flat=True))
    assert len(ids) > 10

    for pk in ids:
        _pk, _etag, text = found_task(actor, id=pk).read()

        assert json.loads(text) == by_pydantic(pk)
        assert list(json.loads(text)) == list(TaskResponse.model_fields)


def test_it_is_compiled_once(acme, monkeypatch):
    ids = Task.objects.visible_to(acme.ada).values_list("pk", flat=True)
    found_task(acme.ada, id=ids[0]).read()
    monkeypatch.setattr("tasks.models.Task.objects", None)

    found_task(acme.bob, id=ids[0]).read()


def test_reading_one_costs_two_statements(world, as_, assert_statements):
    client = as_(world.ada)
    client.get("/tasks/APO-1")
    etag = client.get("/tasks/APO-1").headers["ETag"]

    with assert_statements(2):  # the token, the document
        client.get(f"/tasks/{world.task.pk}")
    with assert_statements(2):  # … or its stamp
        client.get(f"/tasks/{world.task.pk}", headers={"If-None-Match": etag})


@pytest.mark.wall
def test_a_compiled_question_is_asked_in_the_tenant_that_asks(world, as_):
    assert as_(world.boss).get(f"/tasks/{world.task.pk}").status_code == 200
    assert as_(world.mallory).get(f"/tasks/{world.task.pk}").status_code == 404
    assert as_(world.mallory).get(f"/tasks/{world.secret_task.pk}").status_code == 200
    assert as_(world.boss).get(f"/tasks/{world.secret_task.pk}").status_code == 404


@pytest.mark.parametrize("bound", [1, 2])
def test_a_bound_token_reads_its_projects(world, as_, bound):
    with inside(world.acme):
        others = [create_project(world.ada, name=f"O{n}").pk for n in range(bound)]

    assert as_(world.ada, project_ids=others).get("/tasks/APO-1").status_code == 404
    allowed = as_(world.ada, project_ids=[*others, world.apollo.pk])
    assert allowed.get("/tasks/APO-1").status_code == 200
