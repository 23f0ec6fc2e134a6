"""Every two verbs of tasks at the same time, on the same few tasks of two projects."""

from __future__ import annotations

import itertools
import logging
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, connections

from conftest import PROOF, ApiClient, build_fixtures, token_of
from taskflow.tenancy import inside
from tasks.actions.projects import create_project
from tasks.changes.create import CreateTask, create_tasks
from tasks.changes.tasks import TASK_CHANGES
from tasks.tests.invariants import broken_invariants

THREADS, REQUESTS = (6, 25) if PROOF else (2, 3)  # REQUESTS are of each thread, for each pair
TASKS = 4
TAGS = ["a", "b", "c"]


class Worker:
    """Sends requests of one verb, each to tasks and projects taken at random."""

    def __init__(self, client, targets, seed):
        self.client, self.targets, self.random = client, targets, random.Random(seed)
        self.number = 0

    @property
    def task(self):
        return self.random.choice(self.targets["tasks"])

    @property
    def project(self):
        return self.random.choice(self.targets["projects"])

    def tags(self):
        return self.random.sample(TAGS, self.random.randint(1, 2))

    def some(self):
        return self.random.sample(self.targets["tasks"], self.random.randint(0, 2))

    def bulk(self, operation, **more):
        operations = [{"op": operation, "id": pk, **more} for pk in self.some() or [self.task]]
        return self.client.post("/tasks/bulk", {"operations": operations, "on_error": "skip"})

    def send(self, verb):
        """Return the status. The request id is stored for an undo."""
        name = f"r-{id(self)}-{self.number}"
        self.number += 1
        self.client.defaults["HTTP_X_REQUEST_ID"] = name
        response = VERBS[verb](self)
        self.targets["requests"].append(name)
        return response.status_code


VERBS = {
    "create": lambda w: w.client.post(
        "/tasks", {"project_id": w.project, "title": "new", "tags": w.tags(), "parent_id": None}
    ),
    "update": lambda w: w.client.patch(f"/tasks/{w.task}", {"title": f"t{w.number}"}),
    "complete": lambda w: w.client.post(f"/tasks/{w.task}/completion?force=true"),
    "reopen": lambda w: w.client.delete(f"/tasks/{w.task}/completion"),
    "assign": lambda w: w.client.post(
        f"/tasks/{w.task}/assignment", {"assignee_id": w.random.choice(w.targets["users"])}
    ),
    "move": lambda w: w.client.post(f"/tasks/{w.task}/move", {"project_id": w.project}),
    "tag": lambda w: w.bulk("tag", data={"tags": w.tags()}),
    "untag": lambda w: w.bulk("untag", data={"tags": w.tags()}),
    "delete": lambda w: w.client.delete(f"/tasks/{w.task}"),
    "restore": lambda w: w.client.post(f"/trash/task/{w.task}/restoration"),
    "set blockers": lambda w: w.client.patch(f"/tasks/{w.task}", {"blocked_by": w.some()}),
    "set parent": lambda w: w.client.patch(
        f"/tasks/{w.task}", {"parent_id": w.random.choice([None, w.task])}
    ),
    "bulk complete": lambda w: w.bulk("complete", force=True),
    "bulk move": lambda w: w.bulk("move", data={"project_id": w.project}),
    "comment": lambda w: w.client.post("/comments", {"task_id": w.task, "body": "x"}),
    "undo": lambda w: w.client.post(
        "/undo",
        {"request_id": w.random.choice(w.targets["requests"] or ["x"]), "on_conflict": "skip"},
    ),
}


def test_every_verb_of_tasks_is_raced():
    """The module of a verb has its name."""
    modules = {change.__module__.rpartition(".")[2] for change in TASK_CHANGES}

    assert modules <= VERBS.keys()


@pytest.fixture
def pool():
    """Threads that live as long as the test, because each opens a connection."""
    barrier = threading.Barrier(THREADS, timeout=30)  # so that none of them closes for another

    def close(_number):
        barrier.wait()
        connections.close_all()

    with ThreadPoolExecutor(THREADS) as pool:
        yield pool
        list(pool.map(close, range(THREADS)))


class Retries(logging.Handler):
    """Counts the attempts that were run again."""

    count = 0

    def emit(self, record):
        self.count += 1


@pytest.mark.sampled(3)
@pytest.mark.proof
@pytest.mark.parametrize("first", VERBS)
@pytest.mark.django_db(transaction=True)
def test_two_verbs_at_once_neither_fail_nor_break_an_invariant(pool, first):
    fixtures = build_fixtures()
    with inside(fixtures.acme):
        projects = [fixtures.apollo, create_project(fixtures.ada, name="Other", key="OTH")]
    users = [fixtures.ada.user.pk, fixtures.boss.user.pk, None]
    token, retries = token_of(fixtures.boss), Retries()
    logging.getLogger("taskflow.contention").addHandler(retries)
    others = list(VERBS)[list(VERBS).index(first) :]
    statuses, seconds, before = Counter(), 0.0, deadlocks()
    for pair in itertools.product([first], others):
        targets = {
            "tasks": new_tasks(fixtures, projects),
            "projects": [project.pk for project in projects],
            "users": users,
            "requests": [],
        }
        if "undo" in pair:  # something to begin with
            Worker(ApiClient(token), targets, "first").send("update")
        started = time.perf_counter()
        new_statuses = race(pool, pair, token, targets)
        seconds += time.perf_counter() - started
        statuses += new_statuses
        assert not [s for s in new_statuses if s >= 500], (pair, new_statuses)
    logging.getLogger("taskflow.contention").removeHandler(retries)
    requests = statuses.total()
    print(
        f"\n{connection.vendor}: {first} beside {len(others)} verbs: {requests} requests,"
        f" {requests / seconds:.0f}/s, {deadlocks() - before} deadlocks, {retries.count} run again,"
        f" {dict(statuses)}"
    )
    with inside(fixtures.acme):
        assert broken_invariants() == []


def race(pool, pair, token, targets):
    """Send one verb from half of the threads and the other from the rest; return the statuses."""

    def run(number):
        worker = Worker(ApiClient(token), targets, f"{pair} {number}")
        return [worker.send(pair[number % 2]) for _ in range(REQUESTS)]

    return Counter(itertools.chain(*pool.map(run, range(THREADS))))


def new_tasks(fixtures, projects):
    with inside(fixtures.acme):
        drafts = [CreateTask(projects[n % 2], f"t{n}", tags=["a"]) for n in range(TASKS)]
        return [task.pk for task in create_tasks(fixtures.ada, drafts).values()]


def deadlocks():
    """Return the number of deadlocks that PostgreSQL counted in this database."""
    if connection.vendor != "postgresql":
        return 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush(), pg_stat_clear_snapshot()")
        cursor.execute("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        return cursor.fetchone()[0]
