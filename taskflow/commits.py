"""Wakes the requests of a worker that wait for commits, in whichever way its database allows."""

from __future__ import annotations

from django.conf import settings
from django.db import connection

from taskflow.audit.commits.polling import PollingWatcher, read_position
from taskflow.audit.commits.postgresql import PostgresWatcher
from taskflow.audit.commits.sqlite import SqliteWatcher
from taskflow.audit.commits.watching import CommitWatcher
from taskflow.front.waits import Waits


def watch_commits(waits: Waits) -> CommitWatcher:
    """Start the thread that wakes the requests of this process. To be called after the fork."""
    watcher = choose_watcher()(waits, read_position)
    waits.on_wait = watcher.notice_wait
    watcher.start()
    return watcher


def choose_watcher() -> type[CommitWatcher]:
    if connection.vendor == "sqlite":
        return SqliteWatcher
    return PollingWatcher if settings.POOLER else PostgresWatcher
