"""Learns of commits by looking at the database file, while somebody waits."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from django.db import connection

from taskflow.audit.commits.watching import CommitWatcher
from taskflow.audit.models import Event
from taskflow.db.sqlite.files import identify_file

LOOK_SECONDS = 0.1  # between two looks for commits of other processes
# Across tenants: only whose events they are.
NEW_EVENTS = (
    f"SELECT tenant_id, max(id) FROM {Event._meta.db_table} WHERE id > ? GROUP BY tenant_id"  # noqa: S608
)
LAST_EVENT = f"SELECT coalesce(max(id), 0) FROM {Event._meta.db_table}"  # noqa: S608


class SqliteWatcher(CommitWatcher):
    """Reads `data_version`, which changes with each commit of any other connection."""

    def watch(self) -> None:
        path = str(connection.settings_dict["NAME"])
        file = identify_file(path)
        with closing(connect(path)) as database:
            last = database.execute(LAST_EVENT).fetchone()[0]
            version = None
            self.waiting.wake_all()
            while (
                not self.is_stopped and self.waiting.list_tenants() and identify_file(path) == file
            ):
                self.reports.wait(LOOK_SECONDS)
                self.reports.take()
                former, version = version, database.execute("PRAGMA data_version").fetchone()[0]
                if version != former:
                    events = database.execute(NEW_EVENTS, [last]).fetchall()
                    last = max((event for _, event in events), default=last)
                    self.waiting.wake([tenant for tenant, _ in events])
        self.reports.take()


def connect(path: str) -> sqlite3.Connection:
    """Return a connection that cannot write. Each statement reads the newest commit."""
    return sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True)
