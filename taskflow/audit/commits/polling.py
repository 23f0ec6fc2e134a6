"""Learns of commits by reading, once a second, the position of each tenant that is waited for.

For a database behind a pooler, which gives each transaction another connection: nobody can listen.
"""

from __future__ import annotations

from django.db import connection

from taskflow.audit.commits.watching import CommitWatcher
from taskflow.audit.feed import latest_cursor
from taskflow.tenancy import inside

LOOKS = 60.0  # seconds of one call of poll()


class PollingWatcher(CommitWatcher):
    """Polls while somebody waits."""

    def watch(self) -> None:
        self.waiting.wake_all()
        while not self.is_stopped and self.waiting.list_tenants():
            self.poll(LOOKS)


def read_position(tenant_id: int) -> object:
    """Return the cursor of the tenant's last event that can be read. One query."""
    try:
        with inside(tenant_id, read_only=True):
            return latest_cursor()
    finally:
        connection.close_if_unusable_or_obsolete()
