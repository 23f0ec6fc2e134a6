"""Let new events come after all that are in the log, in a database that was replaced."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from taskflow.tenancy import inside
from tasks.export.epochs import begin_event_epoch
from tasks.export.unfinished import finished_tenants


class Command(BaseCommand):
    help = (
        "Begin a new epoch of the event log of each tenant. Run it before the server starts, after"
        " the database was replaced by pg_restore, by a recovery to a point in time or by an older"
        " copy. import and restore do it by themselves."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        for tenant in finished_tenants():
            with inside(tenant):
                begin_event_epoch(tenant)
            self.stdout.write(f"{tenant.subdomain}: epoch {tenant.event_epoch}")
