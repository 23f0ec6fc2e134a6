"""What the ways to learn of commits have in common."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable
from typing import Protocol

from django.db import connection

from taskflow.db.commits import CommitReports, report_commits_to

log = logging.getLogger("taskflow.commits")
POLL_SECONDS = 1.0  # between two looks at the events of the tenants for which somebody waits
MAX_PAUSE_SECONDS = 30.0  # between two attempts to connect


class Waiting(Protocol):
    """Those who wait for commits: the requests that the front keeps."""

    def wake(self, tenants: Iterable[int]) -> None:
        """Wake those who wait for one of these tenants. A reader sees the new events now."""

    def wake_all(self) -> None:
        """Wake everybody: commits may have been missed until now."""

    def list_tenants(self) -> Collection[int]:
        """Return the tenants for which somebody waits."""


class CommitWatcher(ABC, threading.Thread):
    """Wakes those who wait, from its own thread. Without waiters and commits it does nothing."""

    def __init__(self, waiting: Waiting, read_position: Callable[[int], object]) -> None:
        """`read_position` returns what changes when a tenant has new events that can be read."""
        super().__init__(name="commits", daemon=True)
        self.waiting = waiting
        self.read_position = read_position
        self.reports = CommitReports()
        self.is_stopped = False

    def notice_wait(self) -> None:
        """To be called when somebody begins to wait. Does not wait."""
        self.reports.signal()

    def report(self, tenant_id: int) -> None:
        """Note a commit of this process, if somebody here waits. Does not wait."""
        if self.waiting.list_tenants():
            self.reports.add(tenant_id)

    def stop(self) -> None:
        """End the thread, and its connections. Returns when it has ended."""
        self.is_stopped = True
        self.reports.signal()
        self.join()
        report_commits_to(None)
        self.reports.close()

    def run(self) -> None:
        """Watch until stop(). After an error, try again after growing pauses; poll meanwhile."""
        report_commits_to(self.report)
        pause = POLL_SECONDS / 2
        while not self.is_stopped:
            self.reports.wait(None)
            started = time.monotonic()
            try:
                self.watch()
            except Exception as error:  # otherwise nobody would be woken any more
                log.warning("commits are polled, since they cannot be watched: %s", error)
                has_worked = time.monotonic() - started > MAX_PAUSE_SECONDS
                pause = POLL_SECONDS if has_worked else min(pause * 2, MAX_PAUSE_SECONDS)
                self.poll(pause)
                self.reports.signal()  # try again at once

    @abstractmethod
    def watch(self) -> None:
        """Wake those who wait until there is an error or nothing to do.

        To begin with, wake_all(): what was committed before is not noticed.
        """

    def poll(self, seconds: float) -> None:
        """Look at the events of each tenant for which somebody waits, once a second, so long."""
        positions: dict[int, object] = {}
        try:
            for _ in range(round(seconds / POLL_SECONDS)):
                if self.is_stopped:
                    return
                self.try_to_wake_changed(positions)
                self.reports.wait(POLL_SECONDS)
        finally:
            connection.close()  # that of this thread

    def try_to_wake_changed(self, positions: dict[int, object]) -> None:
        try:
            self.wake_changed(positions)
        except Exception as error:  # the next look may succeed
            log.warning("commits cannot be polled: %s", error)

    def wake_changed(self, positions: dict[int, object]) -> None:
        """Wake those whose tenant has another last event than in `positions`, and update it."""
        reported = self.reports.take()
        changed = set()
        for tenant_id in self.waiting.list_tenants():
            position = self.read_position(tenant_id)
            if positions.get(tenant_id, ()) != position or tenant_id in reported:
                changed.add(tenant_id)
            positions[tenant_id] = position
        self.waiting.wake(changed)
