"""
Runs the timed tasks of tasks/scheduled/registry.py: what has to be done after some time, without a
request.

Any number of processes may run this. Each task has a row in the database with the time at which it
is due, and a lease for the process that runs it. A process that is killed keeps its lease for some
minutes; then another one runs the task. So every task has to be correct when it is begun again
after a part of it was done, and when two processes run it at the same time: it works in short
transactions, and each of them reads what is still to be done.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from threading import Event

from django.db import DatabaseError, connection
from django.utils import timezone

from accounts.models import Tenant
from taskflow.metrics.definitions import SCHEDULED_RUNS, SCHEDULED_SECONDS
from tasks.models.scheduled import ScheduledRun

log = logging.getLogger("taskflow.scheduled")
POLL_SECONDS = 10.0  # between two looks at what is due
LEASE = timedelta(minutes=10)  # of a task that runs; it is extended between two tenants
RETRY = timedelta(minutes=5)  # after which a task that has failed is run again, if not earlier


class Stopped(Exception):
    """The process has to end. The task goes on in the next process, or when the lease ends."""


class TaskFailed(Exception):
    """A task has failed for some tenants. The log has the reasons."""


class TaskRun:
    """One run of a task, for the function that does its work.

    The function calls for_each() with the tenants that have something to do, or check() between two
    of its transactions.
    """

    def __init__(self, lease: str, stopping: Event) -> None:
        self.lease, self.stopping = lease, stopping
        self.extended_at = time.monotonic()

    def check(self) -> None:
        """Extend the lease. Raises Stopped if the process has to end, or has lost the lease."""
        if self.stopping.is_set():
            raise Stopped
        if time.monotonic() - self.extended_at > LEASE.total_seconds() / 4:
            if not ScheduledRun.extend_lease(self.lease, timezone.now() + LEASE):
                raise Stopped
            self.extended_at = time.monotonic()

    def for_each(self, tenants: Iterable[Tenant], work: Callable[[Tenant], object]) -> None:
        """Call `work` for each of the tenants, which opens its own units of work.

        A tenant for which it fails does not keep others waiting. Raises TaskFailed at the end if it
        has failed for any.
        """
        failed = 0
        for tenant in tenants:
            self.check()
            try:
                work(tenant)
            except Stopped:
                raise
            except Exception:
                reconnect()
                log.exception("a timed task failed for tenant %s", tenant.pk)
                failed += 1
        if failed:
            raise TaskFailed(f"It failed for {failed} tenants.")


@dataclass(frozen=True)
class TimedTask:
    """A function that is called again and again: `every` after its last beginning.

    `name` has at most 40 characters. It is in the log, in /metrics and in the database, and must be
    in SCHEDULED_TASKS of taskflow/metrics/definitions.py.
    """

    name: str
    every: timedelta
    run: Callable[[TaskRun], None]


class Scheduler:
    """Runs timed tasks until stop() is called."""

    def __init__(self, tasks: Sequence[TimedTask]) -> None:
        self.tasks = {task.name: task for task in tasks}
        self.stopping = Event()

    def run(self) -> None:
        """Run what is due, and look again every 10 seconds. A database that fails ends nothing."""
        while not self.stopping.is_set():
            try:
                reconnect()
                self.run_due()
            except DatabaseError as error:
                log.warning("timed tasks were not run: the database failed: %s", error)
            self.stopping.wait(POLL_SECONDS)

    def stop(self) -> None:
        """End run() soon. A signal handler can call it."""
        self.stopping.set()

    def run_due(self) -> bool:
        """Run each task that is due now, once. Return whether all of them have succeeded."""
        results = [
            self.try_to_run(self.tasks[name])
            for name in ScheduledRun.find_due([*self.tasks], timezone.now())
        ]
        return all(results)

    def run_now(self, name: str) -> bool:
        """Run a task whether it is due or not, unless another process runs it. Return whether it
        has succeeded, or runs elsewhere.
        """
        ScheduledRun.find_due([name], timezone.now())  # inserts its row
        ScheduledRun.make_due(name)
        return self.try_to_run(self.tasks[name])

    def try_to_run(self, task: TimedTask) -> bool:
        """Run the task if no other process does. Return False if it has failed. The log and the
        metrics have the result.
        """
        begun = timezone.now()
        lease = None if self.stopping.is_set() else ScheduledRun.take_lease(task.name, begun, LEASE)
        if lease is None:
            return True
        clock = time.monotonic()
        try:
            task.run(TaskRun(lease, self.stopping))
        except Stopped:
            ScheduledRun.give_back(lease)
            return True
        except Exception:
            log.exception("the timed task %s failed", task.name)
            reconnect()
            ScheduledRun.finish(lease, begun + min(task.every, RETRY), succeeded_at=None)
            result = "failed"
        else:
            ScheduledRun.finish(lease, begun + task.every, succeeded_at=timezone.now())
            result = "succeeded"
        SCHEDULED_RUNS.add(labels=(task.name, result))
        SCHEDULED_SECONDS.add(time.monotonic() - clock, labels=(task.name,))
        return result == "succeeded"


def reconnect() -> None:
    """Let the next statement open a connection if the present one is broken."""
    if not connection.in_atomic_block:  # as in tests
        connection.close_if_unusable_or_obsolete()
