"""A task below another: in one project, without cycles, five levels deep at most."""

from __future__ import annotations

import pytest

from conftest import hide_id
from taskflow.tenancy import inside
from tasks.actions.projects import create_project
from tasks.changes.tasks import create_task
from tasks.models import Task


def chain(fixtures, length):
    """Tasks, each below the one before, by id."""
    with inside(fixtures.acme):
        tasks = [create_task(fixtures.ada, fixtures.apollo, title="top")]
        for number in range(length - 1):
            tasks.append(
                create_task(fixtures.ada, fixtures.apollo, title=str(number), parent=tasks[-1])
            )
    return [t.pk for t in tasks]


def create_below(client, fixtures, parent_id):
    body = {"project_id": fixtures.apollo.pk, "title": "x", "parent_id": parent_id}
    return client.post("/tasks", body)


def move(client, task_id, parent_id):
    return client.patch(f"/tasks/{task_id}", {"parent_id": parent_id})


def test_changing_the_parent_changes_nothing_else(fixtures, as_, events):
    top, child, grandchild = chain(fixtures, 3)
    with inside(fixtures.acme):
        before = {t.pk: (t.parent_id, t.version) for t in Task.objects.all()}

    r = move(as_(fixtures.bob), child, fixtures.task.pk)

    assert (r.status_code, r.json()["parent_id"]) == (200, fixtures.task.pk)
    assert events(fixtures.acme, verb="changed")[-1].changes == {"parent": [top, fixtures.task.pk]}
    with inside(fixtures.acme):
        after = {t.pk: (t.parent_id, t.version) for t in Task.objects.all()}
    assert after == before | {child: (fixtures.task.pk, 2)}
    assert after[grandchild] == (child, 1)


def test_more_than_five_levels_are_refused(fixtures, as_):
    tasks, client = chain(fixtures, 5), as_(fixtures.ada)

    r = create_below(client, fixtures, tasks[-1])

    assert r.status_code == 422
    assert (r.json()["errors"][0]["pointer"], r.json()["errors"][0]["code"]) == (
        "#/parent_id",
        "too_deep",
    )
    assert create_below(client, fixtures, tasks[-2]).status_code == 201


def test_levels_below_a_moved_task_count(fixtures, as_):
    tasks, client = chain(fixtures, 5), as_(fixtures.ada)

    assert move(client, tasks[0], fixtures.task.pk).status_code == 422
    assert move(client, tasks[1], fixtures.task.pk).status_code == 200


@pytest.mark.parametrize("below", [0, 1, 2])
def test_circle_of_parents_is_refused(fixtures, as_, events, below):
    tasks, client = chain(fixtures, 3), as_(fixtures.ada)
    count = len(events(fixtures.acme))

    r = move(client, tasks[0], tasks[below])

    assert (r.status_code, r.json()["code"]) == (409, "cycle")
    assert len(events(fixtures.acme)) == count


def test_parent_in_another_project_is_refused(fixtures, as_):
    with inside(fixtures.acme):
        other = create_project(fixtures.ada, name="Other")
        there = create_task(fixtures.ada, other, title="there")
    client = as_(fixtures.ada)

    for r in (create_below(client, fixtures, there.pk), move(client, fixtures.task.pk, there.pk)):
        assert (r.status_code, r.json()["errors"][0]["pointer"]) == (422, "#/parent_id")


def test_parent_in_an_invisible_project_is_unknown(fixtures, as_):
    with inside(fixtures.acme):
        hidden = create_project(fixtures.eve, name="Hidden")
        there = create_task(fixtures.eve, hidden, title="there")
    client = as_(fixtures.ada)

    hidden_parent, nobodys = (move(client, fixtures.task.pk, pk) for pk in (there.pk, 10**9))

    assert hidden_parent.status_code == nobodys.status_code == 422
    assert hide_id(hidden_parent.json()["errors"], there.pk) == hide_id(
        nobodys.json()["errors"], 10**9
    )
