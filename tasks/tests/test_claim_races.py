"""Claims and changes of one task at the same time."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from conftest import ApiClient, build_fixtures, token_of
from taskflow.http.errors import Conflict
from taskflow.tenancy import inside
from taskflow.tests.concurrency import at_once, call_during
from tasks.actions.claims import complete_claim
from tasks.changes.tasks import complete_task, update_task
from tasks.models import Claim, ClaimOutcome, Task
from tasks.queries.claimable import find_claim
from tasks.tests.factories import ClaimFactory, TaskFactory
from tasks.tests.invariants import broken_invariants

pytestmark = pytest.mark.django_db(transaction=True)
WORKERS, TASKS = 4, 12


@pytest.fixture
def live():
    return build_fixtures()


@pytest.mark.slow
def test_workers_of_one_agent_do_each_task_once(live):
    """The daily short form of taskflow/tests/test_claim_storm.py."""
    with inside(live.acme):
        for n in range(TASKS):
            TaskFactory(actor=live.ada, project=live.apollo, title=f"Task {n}")
    token, worked = token_of(live.bot), Counter()

    def work():
        client = ApiClient(token)
        while (r := client.post("/claims", {})).status_code == 201:
            (granted,) = r.json()["data"]
            worked[granted["task"]["id"]] += 1
            done = client.post(f"/claims/{granted['id']}/completion", {"outcome": "completed"})
            assert done.status_code == 200, done.content

    assert at_once(*[work] * WORKERS) == [None] * WORKERS

    assert (len(worked), max(worked.values())) == (TASKS, 1)
    with inside(live.acme):
        assert broken_invariants() == []


def test_write_that_waits_for_a_claim_is_refused_by_it(live):
    """The claim is read with the lock of the task, so a write that began before sees it."""
    with inside(live.acme):
        task = TaskFactory(actor=live.ada, project=live.apollo)

    def claim():
        ClaimFactory(actor=live.ada, project=live.apollo, task=task)

    def write():
        with inside(live.acme):
            row = Task.objects.select_related("project").get(pk=task.pk)
            try:
                update_task(live.bot, row, title="late")
            except Conflict as problem:
                return problem.code
        return None

    assert call_during(live.acme, claim, write) == "claimed"


def test_finishing_that_waits_for_the_completion_of_a_person_is_refused(live):
    with inside(live.acme):
        task = TaskFactory(actor=live.ada, project=live.apollo)
        granted = ClaimFactory(actor=live.bot, project=live.apollo, task=task)

    def complete():
        row = Task.objects.select_related("project").get(pk=task.pk)
        complete_task(live.ada, row)

    def finish():
        with inside(live.acme):
            claim = find_claim(live.bot, granted.pk)
            try:
                complete_claim(live.bot, claim, ClaimOutcome.COMPLETED)
            except Conflict as problem:
                return problem.code
        return None

    assert call_during(live.acme, complete, finish) == "claim_lost"
    with inside(live.acme):
        assert Claim.objects.get(pk=granted.pk).end == "superseded"


def test_finishing_twice_at_once_answers_the_same(live):
    with inside(live.acme):
        granted = ClaimFactory(actor=live.bot, project=live.apollo)

    def finish():
        with inside(live.acme):
            actor = replace(live.bot, request_id="")
            return complete_claim(actor, find_claim(actor, granted.pk), ClaimOutcome.COMPLETED)

    first, second = at_once(finish, finish)

    assert first == second
    assert first["outcome"] == "completed"
