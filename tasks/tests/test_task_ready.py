"""The event task.ready, for every way in which the last open blocker of a task goes."""

from __future__ import annotations

import threading

import pytest
from django.db import connection

from conftest import ApiClient
from taskflow.audit.models import Event
from taskflow.tenancy import inside
from tasks.actions.projects import create_project, delete_project
from tasks.actions.trash import purge
from tasks.changes.tasks import complete_task, create_task, delete_task, reopen_task, update_task
from tasks.models import Task

pytestmark = pytest.mark.one_database


def ready_events(task) -> int:
    return Event.objects.filter(subject_type="task", subject_id=task.pk, verb="ready").count()


@pytest.fixture
def acme(fixtures):
    with inside(fixtures.acme):
        yield fixtures


def new_task(fixtures, **values):
    return create_task(fixtures.ada, fixtures.apollo, **{"title": "t"} | values)


def test_completing_the_last_blocker_makes_a_task_ready(acme):
    first, second = new_task(acme), new_task(acme)
    task = new_task(acme, blocked_by=[first, second])

    complete_task(acme.ada, first)
    assert ready_events(task) == 0
    complete_task(acme.bob, second)

    event = Event.objects.get(subject_id=task.pk, subject_type="task", verb="ready")
    assert (event.actor, event.changes, event.version) == (acme.bob.user, {}, 1)
    done = Event.objects.get(subject_id=second.pk, subject_type="task", verb="completed")
    assert (event.request_id, event.pk > done.pk) == (done.request_id, True)


def test_done_blocker_that_is_deleted_makes_nothing_ready(acme):
    blocker = new_task(acme)
    task = new_task(acme, blocked_by=[blocker])
    complete_task(acme.ada, blocker)
    delete_task(acme.ada, blocker)

    assert ready_events(task) == 1


def test_deleting_the_last_blocker_makes_a_task_ready_once(acme):
    blocker = new_task(acme)
    task = new_task(acme, blocked_by=[blocker])

    delete_task(acme.ada, blocker)
    assert ready_events(task) == 1
    purge(acme.ada, Task.everything.get(pk=blocker.pk))
    assert ready_events(task) == 1


def test_removing_the_last_open_blocker_makes_a_task_ready(acme):
    is_open, is_done = new_task(acme), new_task(acme)
    task = new_task(acme, blocked_by=[is_open, is_done])
    complete_task(acme.ada, is_done)
    update_task(acme.ada, task, blocked_by=[is_open])
    assert ready_events(task) == 0

    update_task(acme.ada, task, blocked_by=[])
    assert ready_events(task) == 1


def test_deleting_the_project_of_the_last_blocker_makes_a_task_ready(acme):
    other = create_project(acme.ada, name="Zeus", key="ZEU")
    blocker = create_task(acme.ada, other, title="b")
    task = new_task(acme, blocked_by=[blocker])

    delete_project(acme.ada, other)

    assert ready_events(task) == 1


@pytest.mark.parametrize("state", ["done", "deleted", "archived"])
def test_task_that_nobody_can_begin_is_not_ready(acme, state):
    other = create_project(acme.ada, name="Zeus", key="ZEU")
    blocker = create_task(acme.ada, other, title="b")
    task = new_task(acme, blocked_by=[blocker])
    if state == "done":
        complete_task(acme.ada, task, force=True)
    elif state == "deleted":
        delete_task(acme.ada, task)
    else:
        type(acme.apollo).objects.filter(pk=acme.apollo.pk).update(status="archived")

    complete_task(acme.ada, blocker)

    assert ready_events(task) == 0


def test_bulk_request_makes_tasks_ready_that_it_does_not_complete(acme, as_):
    first, second = new_task(acme), new_task(acme)
    inner = new_task(acme, blocked_by=[first])
    outer = new_task(acme, blocked_by=[inner, second])
    operations = [{"op": "complete", "id": t.pk} for t in (first, second, inner)]

    response = as_(acme.ada).post("/tasks/bulk", {"operations": operations})

    assert response.status_code == 200, response.content
    assert (ready_events(inner), ready_events(outer)) == (0, 1)


def test_ready_event_is_shown_in_the_history(acme, as_):
    blocker = new_task(acme)
    task = new_task(acme, blocked_by=[blocker])
    complete_task(acme.ada, blocker)

    (event, *_) = as_(acme.ada).get(f"/tasks/{task.key}/events").json()["data"]

    assert event["verb"] == "task.ready"
    assert event["sentence"] == (
        "Ada (@ada) completed, deleted or removed the last open blocker of the task"
    )


def undo(client: ApiClient, request_id: str):
    response = client.post("/undo", {"request_id": request_id})
    assert response.status_code == 200, response.content
    return response.json()


def test_undo_of_a_completion_blocks_the_task_again(acme, as_):
    blocker = new_task(acme)
    task = new_task(acme, blocked_by=[blocker])
    client = as_(acme.ada)
    done = client.post(f"/tasks/{blocker.key}/completion")

    undone = undo(client, done.headers["X-Request-Id"])

    assert client.get(f"/tasks/{task.key}").json()["ready"] is False
    assert ready_events(task) == 1
    assert Event.objects.get(verb="ready").undoes is None
    undo(client, undone["request_id"])  # and done again
    assert ready_events(task) == 2


def test_reopened_blocker_makes_the_task_ready_again_when_it_is_done(acme):
    blocker = new_task(acme)
    task = new_task(acme, blocked_by=[blocker])
    complete_task(acme.ada, blocker)
    reopen_task(acme.ada, blocker)
    complete_task(acme.ada, blocker)

    assert ready_events(task) == 2


@pytest.mark.django_db(transaction=True)
def test_one_of_two_requests_that_complete_the_last_blockers_records_it(fixtures):
    """On PostgreSQL neither sees the change of the other before it is committed."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time")
    with inside(fixtures.acme):
        blockers = [new_task(fixtures), new_task(fixtures)]
        task = new_task(fixtures, blocked_by=blockers)
    both = threading.Barrier(2)

    def complete(blocker):
        with inside(fixtures.acme):
            blocker.refresh_from_db()
            both.wait(5)
            complete_task(fixtures.ada, blocker)
        connection.close()

    threads = [threading.Thread(target=complete, args=(b,)) for b in blockers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with inside(fixtures.acme):
        assert ready_events(task) == 1
