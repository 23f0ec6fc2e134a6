"""Task counts of projects: exact after every write, and without locks between writers."""

from __future__ import annotations

import random
import time

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from conftest import PROOF, ApiClient, build_fixtures, token_of
from taskflow.audit.recorder import change
from taskflow.tenancy import inside
from taskflow.tests.concurrency import at_once, held_open
from tasks.actions.members import add_member
from tasks.actions.projects import create_project, delete_project
from tasks.actions.trash import purge, restore
from tasks.changes.complete import CompleteTask
from tasks.changes.move import MoveTask
from tasks.changes.planner import change_tasks
from tasks.changes.tasks import create_task, delete_task, move_task
from tasks.changes.update import UpdateTask
from tasks.models import Project, Task, TaskCountDelta, count_deltas

THREADS, WRITES = (16, 200) if PROOF else (6, 15)


def counts(client, project="APO"):
    return client.get(f"/projects/{project}").json()["task_counts"]


def wrong(tenant):
    with inside(tenant):
        return TaskCountDelta.find_wrong_counts(Project.everything.all())


@pytest.fixture
def acme(fixtures):
    with inside(fixtures.acme):
        yield fixtures


# ---- each way of writing ------------------------------------------------------------------------


def test_counts_follow_every_write(fixtures, as_):
    client = as_(fixtures.ada)
    made = client.post("/tasks", {"project_id": fixtures.apollo.pk, "title": "x"}).json()["id"]
    assert counts(client) == {"todo": 2, "in_progress": 0, "done": 0, "cancelled": 0}
    client.patch(f"/tasks/{made}", {"status": "in_progress"})
    assert counts(client) == {"todo": 1, "in_progress": 1, "done": 0, "cancelled": 0}
    client.post(f"/tasks/{made}/completion")
    assert counts(client) == {"todo": 1, "in_progress": 0, "done": 1, "cancelled": 0}
    client.delete(f"/tasks/{made}")
    assert counts(client) == {"todo": 1, "in_progress": 0, "done": 0, "cancelled": 0}
    client.post(f"/trash/task/{made}/restoration")
    client.post("/projects/APO/completion")
    assert counts(client) == {"todo": 0, "in_progress": 0, "done": 2, "cancelled": 0}
    assert wrong(fixtures.acme) == []


def test_counts_follow_a_move_with_subtasks(acme):
    other = create_project(acme.ada, name="Other", key="OTH")
    create_task(acme.ada, acme.apollo, title="child", parent=acme.task, status="done")

    move_task(acme.ada, acme.task, other)

    projects = Project.objects.with_details(acme.ada.viewer).in_bulk()
    assert projects[acme.apollo.pk].task_counts == {
        "todo": 0,
        "in_progress": 0,
        "done": 0,
        "cancelled": 0,
    }
    assert projects[other.pk].task_counts == {
        "todo": 1,
        "in_progress": 0,
        "done": 1,
        "cancelled": 0,
    }
    assert wrong(acme.acme) == []


def test_counts_follow_several_changes_of_one_task_in_one_request(acme):
    other = create_project(acme.ada, name="Other", key="OTH")
    edits = [
        UpdateTask(acme.task, {"status": "in_progress"}),
        MoveTask(acme.task, other),
        CompleteTask(acme.task),
    ]

    change_tasks(acme.ada, edits)

    assert wrong(acme.acme) == []
    assert Project.objects.with_details(acme.ada.viewer).get(pk=other.pk).task_counts["done"] == 1


def test_purging_a_project_deletes_its_counts(acme):
    delete_project(acme.ada, acme.apollo)
    purge(acme.ada, Project.everything.get(pk=acme.apollo.pk))

    assert not TaskCountDelta.objects.exists()


def test_counts_follow_deletion_and_restoration(acme):
    delete_task(acme.ada, acme.task)
    assert wrong(acme.acme) == []
    restore(acme.ada, Task.everything.get(pk=acme.task.pk))
    assert wrong(acme.acme) == []


def test_counts_are_right_if_the_row_was_read_before_another_change(acme):
    """Another user completes the task after it was read. The recorder locks and refreshes it."""
    stale = Task.objects.get(pk=acme.task.pk)
    done = CompleteTask.values_at(timezone.now())
    change(acme.bob, Task.objects.get(pk=acme.task.pk), **done)

    change(acme.ada, stale, "deleted", deleted_at=timezone.now())

    assert wrong(acme.acme) == []


def test_change_without_effect_on_counts_inserts_no_row(acme):
    before = TaskCountDelta.objects.count()

    change(acme.ada, acme.task, title="x", priority="high")

    assert TaskCountDelta.objects.count() == before


# ---- reading ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/projects", "/projects/APO"])
def test_reading_counts_reads_no_tasks(fixtures, as_, path):
    client = as_(fixtures.ada)

    with CaptureQueriesContext(connection) as captured:
        client.get(path)

    assert not [q for q in captured.captured_queries if '"tasks_task"' in q["sql"]]


@pytest.fixture
def merging(monkeypatch):
    monkeypatch.setattr(count_deltas, "MERGE_EVERY", 1)


def test_rows_of_counts_are_merged(fixtures, as_, merging):
    client = as_(fixtures.ada)
    for n in range(20):
        client.post(f"/tasks/{fixtures.task.pk}/completion" if n % 2 else "/tags", {"name": str(n)})
        client.delete(f"/tasks/{fixtures.task.pk}/completion")

    with inside(fixtures.acme):
        assert TaskCountDelta.objects.filter(project_id=fixtures.apollo.pk).count() <= 5
    assert wrong(fixtures.acme) == []


# ---- at once ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.proof
@pytest.mark.django_db(transaction=True)
def test_counts_are_exact_with_concurrent_writers(merging):
    live = build_fixtures()
    with inside(live.acme):
        other = create_project(live.ada, name="Other", key="OTH")
        add_member(live.ada, other, user=live.bob.user)
    tokens = [token_of(live.ada), token_of(live.bob)]
    started = time.monotonic()

    def hammer(seed):
        client, chance = ApiClient(tokens[seed % 2]), random.Random(seed)
        for _ in range(WRITES):
            project = chance.choice([live.apollo.pk, other.pk])
            rows = client.get("/tasks?limit=20").json()["data"]
            task = chance.choice(rows)["id"] if rows else 0
            kind = chance.choice(["make", "make", "change", "delete", "move", "bulk"])
            if kind == "make":
                client.post("/tasks", {"project_id": project, "title": "x"})
            elif kind == "change":
                status = chance.choice(["todo", "in_progress", "done"])
                client.patch(f"/tasks/{task}?force=true", {"status": status})
            elif kind == "delete":
                client.delete(f"/tasks/{task}")
            elif kind == "move":
                client.post(f"/tasks/{task}/move", {"project_id": project})
            else:
                operations = [{"op": "complete", "where": {"status": ["todo"]}, "force": True}]
                client.post("/tasks/bulk", {"operations": operations})

    at_once(*[lambda seed=seed: hammer(seed) for seed in range(THREADS)])

    assert wrong(live.acme) == []
    with inside(live.acme):
        left = TaskCountDelta.objects.count()
    print(
        f"\n{connection.vendor}: {THREADS} threads, {THREADS * WRITES} writes: counts exact,"
        f" {left} rows keep them, {time.monotonic() - started:.1f} s"
    )


@pytest.mark.django_db(transaction=True)
def test_writers_of_one_project_do_not_wait_for_each_other():
    if connection.vendor == "sqlite":
        pytest.skip("it has one writer at a time anyway")
    live = build_fixtures()
    with inside(live.acme):
        other = create_task(live.ada, live.apollo, title="other")
    token = token_of(live.ada)

    def complete():
        change_tasks(live.ada, [CompleteTask(Task.objects.get(pk=live.task.pk))])

    with held_open(live.acme, complete):
        r = ApiClient(token).post(f"/tasks/{other.pk}/completion")

    assert r.status_code == 200, r.content
    assert wrong(live.acme) == []


# ---- the command --------------------------------------------------------------------------------


def test_recount_finds_and_repairs_wrong_counts(fixtures, as_, capsys):
    with inside(fixtures.acme):
        TaskCountDelta.objects.create(project_id=fixtures.apollo.pk, todo=-5, done=2)

    with pytest.raises(CommandError, match="1 values are wrong"):
        call_command("recount")
    call_command("recount", repair=True)

    assert "acme APO: +5 todo, -2 done" in capsys.readouterr().out
    assert counts(as_(fixtures.ada)) == {"todo": 1, "in_progress": 0, "done": 0, "cancelled": 0}
    call_command("recount")
    assert "All values are right." in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif("connection.vendor != 'sqlite'")
def test_cost_of_checking_counts_grows_with_the_rows_and_not_with_their_square(fixtures):
    """SQLite counts the instructions of a statement, which do not depend on the machine."""
    costs = []
    for _ in range(2):
        with inside(fixtures.acme):
            for n in range(300):
                task = Task(project=fixtures.apollo, number=1000 + 300 * len(costs) + n, title="t")
                task.save()
                TaskCountDelta.objects.create(project_id=fixtures.apollo.pk, todo=1)
            steps = []
            connection.connection.set_progress_handler(lambda seen=steps: seen.append(1), 100)
            try:
                assert TaskCountDelta.find_wrong_counts(Project.everything.all()) == []
            finally:
                connection.connection.set_progress_handler(None, 0)
            costs.append(len(steps))

    assert costs[1] < 3 * costs[0], costs


@pytest.mark.django_db
def test_change_of_the_outcome_alone_is_counted(fixtures):
    with inside(fixtures.acme):
        change_tasks(fixtures.ada, [CompleteTask(fixtures.task)])
        fixtures.task.refresh_from_db()
        fixtures.task.outcome = "cancelled"
        TaskCountDelta.objects.all().delete()

        TaskCountDelta.record([(fixtures.task, {"outcome": ["completed", "cancelled"]})])

        (row,) = TaskCountDelta.objects.all()
    assert (row.project_id, row.done, row.cancelled) == (fixtures.apollo.pk, -1, 1)
