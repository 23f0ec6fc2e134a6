"""Timed tasks: each is run when it is due, by one process at a time, whatever others do."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO
from threading import Event

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError
from django.utils import timezone

from accounts.models import IdempotencyRecord
from taskflow.metrics.definitions import SCHEDULED_TASKS
from taskflow.tenancy import inside
from tasks.export.unfinished import finished_tenants
from tasks.management.commands import run_scheduled
from tasks.models import ScheduledRun, Task
from tasks.scheduled import runner
from tasks.scheduled.registry import TIMED_TASKS
from tasks.scheduled.runner import Scheduler, Stopped, TaskRun, TimedTask

HOUR = timedelta(hours=1)


@pytest.fixture
def runs() -> list[str]:
    return []


@pytest.fixture
def task(runs) -> TimedTask:
    return TimedTask("purge_trash", HOUR, lambda run: runs.append("purge_trash"))


@pytest.fixture
def broken() -> TimedTask:
    def fail(run):
        raise ValueError("broken")

    return TimedTask("purge_expired", HOUR, fail)


def make_due(name: str) -> None:
    ScheduledRun.objects.filter(name=name).update(due_at=timezone.now())


@pytest.mark.one_database
def test_metrics_have_each_task():
    assert tuple(task.name for task in TIMED_TASKS) == SCHEDULED_TASKS


def test_task_runs_again_after_its_interval(db, runs, task):
    scheduler = Scheduler([task])

    assert scheduler.run_due()
    assert scheduler.run_due()
    assert runs == ["purge_trash"]
    row = ScheduledRun.objects.get()
    assert timedelta(minutes=59) < row.due_at - timezone.now() <= HOUR
    assert row.leased_until is None

    make_due("purge_trash")
    scheduler.run_due()
    assert runs == ["purge_trash"] * 2


def test_task_that_another_process_runs_is_left_to_it(db, runs, task):
    Scheduler([task]).run_due()
    make_due("purge_trash")
    lease = ScheduledRun.take_lease("purge_trash", timezone.now(), HOUR)

    assert lease
    assert ScheduledRun.take_lease("purge_trash", timezone.now(), HOUR) is None
    Scheduler([task]).run_due()
    Scheduler([task]).run_now("purge_trash")
    assert runs == ["purge_trash"]


def test_task_of_a_killed_process_is_run_when_its_lease_has_ended(db, runs, task):
    Scheduler([task]).run_due()
    make_due("purge_trash")
    ScheduledRun.take_lease("purge_trash", timezone.now(), timedelta(seconds=-1))

    Scheduler([task]).run_due()

    assert runs == ["purge_trash"] * 2


def test_process_whose_lease_was_taken_stops_and_changes_nothing(db, task, monkeypatch):
    monkeypatch.setattr(runner, "LEASE", timedelta(0))  # each check extends the lease
    leases = []

    def lose_lease(run):
        ScheduledRun.objects.update(leased_until=timezone.now())
        leases.append(ScheduledRun.take_lease("purge_trash", timezone.now(), HOUR))
        run.check()
        raise AssertionError("it went on")

    Scheduler([TimedTask("purge_trash", HOUR, lose_lease)]).run_due()

    row = ScheduledRun.objects.get()
    assert [row.lease] == leases
    assert row.leased_until > timezone.now()


def test_failure_of_a_task_is_logged_and_others_are_run(db, runs, task, broken, caplog):
    assert not Scheduler([broken, task]).run_due()

    assert runs == ["purge_trash"]
    assert "the timed task purge_expired failed" in caplog.text
    row = ScheduledRun.objects.get(name="purge_expired")
    assert (row.failures, row.succeeded_at) == (1, None)
    assert row.due_at - timezone.now() <= timedelta(minutes=5)  # earlier than after a success


def test_failure_for_one_tenant_does_not_stop_others(fixtures, caplog):
    tenants = []

    def work(tenant):
        tenants.append(tenant)
        if tenant == fixtures.acme:
            raise DatabaseError("broken")

    def run(run):
        run.for_each(finished_tenants(), work)

    assert not Scheduler([TimedTask("purge_trash", HOUR, run)]).run_due()

    assert {fixtures.acme, fixtures.globex} <= {*tenants}
    assert f"failed for tenant {fixtures.acme.pk}" in caplog.text
    assert ScheduledRun.objects.get().failures == 1


def test_stopped_task_stays_due(fixtures, runs):
    scheduler = Scheduler(
        [
            TimedTask("purge_trash", HOUR, lambda run: run.for_each(finished_tenants(), stop)),
            TimedTask("purge_expired", HOUR, lambda run: runs.append("purge_expired")),
        ]
    )

    def stop(tenant):
        runs.append("tenant")
        scheduler.stop()

    scheduler.run_due()

    assert runs == ["tenant"]
    assert ScheduledRun.find_due(["purge_trash"], timezone.now()) == ["purge_trash"]


def test_stopping_raises_between_two_transactions(db):
    stopping = Event()
    run = TaskRun("lease", stopping)
    run.check()
    stopping.set()

    with pytest.raises(Stopped):
        run.check()


def test_run_ends_after_a_stop(db, runs, monkeypatch):
    scheduler = Scheduler([])
    monkeypatch.setattr(scheduler, "run_due", scheduler.stop)

    scheduler.run()  # returns


# ---- the command --------------------------------------------------------------------------------


def call(*arguments: str) -> str:
    output = StringIO()
    call_command("run_scheduled", *arguments, stdout=output)
    return output.getvalue()


def test_command_runs_what_is_due_and_lists_it(fixtures):
    assert call("--list").count("last success never, due now") == len(TIMED_TASKS)

    call("--once")

    lines = call("--list")
    assert "never" not in lines
    assert "due now" not in lines


def test_command_fails_when_a_task_fails(db, broken, monkeypatch):
    monkeypatch.setattr(run_scheduled, "TIMED_TASKS", (broken,))

    with pytest.raises(CommandError, match="has failed"):
        call("--once")
    with pytest.raises(CommandError, match="has failed"):
        call("--task", "purge_expired")
    assert "failed 2 times since then" in call("--list")


def test_trash_and_expired_rows_are_purged(fixtures, as_):
    client = as_(fixtures.boss)
    client.delete(f"/api/v1/tasks/{fixtures.task.pk}", HTTP_IDEMPOTENCY_KEY="k")
    with inside(fixtures.acme):
        long_ago = timezone.now() - timedelta(days=31)
        Task.everything.update(deleted_at=long_ago)
        IdempotencyRecord.objects.update(created_at=long_ago)
        count_before = Task.everything.count()

    call("--once")

    with inside(fixtures.acme):
        assert count_before == 1
        assert not Task.everything.exists()
        assert not IdempotencyRecord.objects.exists()
