"""Learns of commits by reading, once a second, the position of each tenant that is waited for.

For a database behind a pooler, which gives each transaction another connection: nobody can listen.
"""

from __future__ import annotations

from django.db import connection
from django.db.models import BigIntegerField, Func

from taskflow.audit.commits.watching import CommitWatcher
from taskflow.audit.models import Event
from taskflow.tenancy import inside

LOOKS = 60.0  # seconds of one call of poll()


class PollingWatcher(CommitWatcher):
    """Polls while somebody waits."""

    def watch(self) -> None:
        self.waiting.wake_all()
        while not self.is_stopped and self.waiting.list_tenants():
            self.poll(LOOKS)


def read_position(tenant_id: int) -> object:
    """Return the position of the tenant's last event that can be read. One query."""
    try:
        with inside(tenant_id, read_only=True):
            events = Event.objects.order_by("-sequence", "-id")
            if connection.vendor == "postgresql":
                events = events.filter(sequence__lt=OldestTransaction())
            return events.values_list("sequence", "id").first()
    finally:
        connection.close_if_unusable_or_obsolete()


class OldestTransaction(Func):
    """The id of the oldest transaction that runs. Events with lower ones can be read in order."""

    arity = 0
    output_field = BigIntegerField()
    template = "(pg_snapshot_xmin(pg_current_snapshot())::text::bigint)"
