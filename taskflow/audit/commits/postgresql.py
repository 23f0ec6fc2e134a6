"""Learns of commits by LISTEN and NOTIFY.

A writer does not notify in its own transaction: NOTIFY takes a lock of the whole cluster until the
transaction is committed, so that writers would wait for each other's disk (docs/performance.md has
the figures). The process notifies the others after its commits, all at once. If it dies in between,
a reader learns of the event when it sends its next request.

A reader sees an event only when all transactions with a lower id have ended: otherwise it could
miss one of theirs. So who waits is woken then, and not before.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import closing

from django.db import connection

from taskflow.audit.commits.watching import CommitWatcher
from taskflow.db.postgresql.deadlines import WatchedConnection
from taskflow.db.postgresql.notifications import CHANNEL, EVERYBODY, write_payload

COLLECT_SECONDS = 0.01  # for which further commits are collected after a notification
CHECK_SECONDS = 30.0  # between two messages on an idle connection
MIN_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.002, 0.1  # while older transactions have to end
READ_SNAPSHOT = """
    SELECT pg_snapshot_xmin(s)::text::bigint, pg_snapshot_xmax(s)::text::bigint
    FROM pg_current_snapshot() s"""
NOTIFY_AND_READ_SNAPSHOT = READ_SNAPSHOT.replace("FROM", ", pg_notify(%s, %s) FROM")


class PostgresWatcher(CommitWatcher):
    """Listens on one connection, and notifies the other processes by it."""

    def report(self, tenant_id: int) -> None:
        self.reports.add(tenant_id)  # somebody may wait in another process

    def watch(self) -> None:
        with closing(connect()) as listener:
            listener.execute(f"LISTEN {CHANNEL}")
            self.waiting.wake_all()
            Listener(self, listener).run()


class Listener:
    """What is known on one connection."""

    def __init__(self, watcher: PostgresWatcher, connection: WatchedConnection) -> None:
        self.watcher, self.connection = watcher, connection
        self.heard: set[int] = set()  # tenants that others have named
        # By tenant: the transaction id below which all have to end until its events can be read.
        self.unreadable: dict[int, int] = {}

    def run(self) -> None:
        """Wake those who wait until the watcher is stopped. Raises psycopg's errors."""
        reports, pause = self.watcher.reports, MIN_PAUSE_SECONDS
        while not self.watcher.is_stopped:
            if not self.heard:
                reports.wait(pause if self.unreadable else CHECK_SECONDS, self.connection.fileno())
            pause = MIN_PAUSE_SECONDS if self.step() else min(pause * 2, MAX_PAUSE_SECONDS)

    def step(self) -> bool:
        """Take what was reported and heard, and wake whose events can be read. Return if any."""
        self.read_notifications()
        reported, heard = self.watcher.reports.take(), self.heard
        self.heard = set()
        oldest, following = self.read_snapshot(reported)
        self.unreadable |= dict.fromkeys(reported | heard, following)
        readable = [tenant for tenant, limit in self.unreadable.items() if limit <= oldest]
        for tenant in readable:
            del self.unreadable[tenant]
        self.watcher.waiting.wake(readable)
        if reported:
            time.sleep(COLLECT_SECONDS)
        # What has come together with the snapshot may be newer, so it is for the next step.
        self.read_notifications()
        return bool(reported or heard)

    def read_snapshot(self, reported: Iterable[int]) -> tuple[int, int]:
        """Notify others of these tenants. Return the oldest running and the next transaction id."""
        if reported:
            parameters = [CHANNEL, write_payload(reported)]
            row = self.connection.execute(NOTIFY_AND_READ_SNAPSHOT, parameters).fetchone()
        else:
            row = self.connection.execute(READ_SNAPSHOT).fetchone()
        assert row is not None
        return row[0], row[1]

    def read_notifications(self) -> None:
        """Take the notifications of other processes that have come. Does not wait.

        Raises an error if the connection is lost.
        """
        own = self.connection.info.backend_pid
        for notification in self.connection.notifies(timeout=0):
            if notification.pid != own:
                self.heard |= self.read_payload(notification.payload)

    def read_payload(self, payload: str) -> set[int]:
        if payload == EVERYBODY:
            return set(self.watcher.waiting.list_tenants())
        return {int(part) for part in payload.split() if part.isdigit()}


def connect() -> WatchedConnection:
    """Return a connection of its own, outside of any pool. Each statement is a transaction."""
    parameters = connection.get_connection_params()
    del parameters["cursor_factory"]
    return WatchedConnection.connect(**parameters, autocommit=True)
