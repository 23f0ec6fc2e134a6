"""Which tenants this process has committed events of, for those who wait for commits."""

from __future__ import annotations

import os
import select
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from django.db import transaction

Report = Callable[[int], object]
PIPE_BYTES = 65_536  # that a pipe of Linux holds: a byte for each signal


class CommitReports:
    """Passes the tenants of commits from the threads that commit to one thread that waits."""

    def __init__(self) -> None:
        self._tenants: deque[int] = deque()
        self.reader, self._writer = os.pipe()
        for pipe in (self.reader, self._writer):
            os.set_blocking(pipe, False)

    def add(self, tenant_id: int) -> None:
        """Report a commit. Does not wait."""
        self._tenants.append(tenant_id)
        self.signal()

    def signal(self) -> None:
        """End a wait(), also without a report."""
        with suppress(BlockingIOError):  # the pipe is full, so the reader will wake up
            os.write(self._writer, b".")

    def wait(self, seconds: float | None, *others: int) -> None:
        """Return after a report or signal, when another file can be read, or after that time."""
        select.select([self.reader, *others], [], [], seconds)

    def take(self) -> set[int]:
        """Return the tenants that were reported since the last call. For one thread."""
        with suppress(BlockingIOError):  # before the tenants are taken: a later report ends wait()
            os.read(self.reader, PIPE_BYTES)
        tenants = set()
        while self._tenants:
            tenants.add(self._tenants.popleft())
        return tenants

    def close(self) -> None:
        os.close(self.reader)
        os.close(self._writer)


class _Reporting:
    report: Report | None = None  # None while nobody wants to know


_reporting = _Reporting()


def report_commits_to(report: Report | None) -> None:
    """Call `report` with the tenant after each commit of this process that has recorded events."""
    _reporting.report = report


def report_after_commit(tenant_id: int) -> None:
    """Report the tenant when the current transaction is committed.

    Call it when events are recorded. A savepoint that is rolled back takes it back. A report that
    fails is written to the log: the transaction is committed all the same.
    """
    if _reporting.report is not None:
        transaction.on_commit(partial(_reporting.report, tenant_id), robust=True)
