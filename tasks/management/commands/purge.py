"""`purge`: permanently delete rows that are in the trash for 30 days, old idempotency keys,
sessions and deliveries, and old events if TASKFLOW_EVENT_RETENTION_DAYS is set.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from tasks.models.trash import TRASH_RETENTION
from tasks.scheduled.purging import (
    delete_expired_rows,
    delete_old_events_of,
    delete_shared_leftovers,
    find_tenants_with_expired_rows,
    find_tenants_with_old_events,
    find_tenants_with_trash,
    purge_trash_of,
    purge_whole_tenants,
)


class Command(BaseCommand):
    help = (
        "Permanently delete rows that are in the trash for 30 days, and idempotency keys older"
        " than a day. The server does this by itself: see `run_scheduled`."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--days",
            type=int,
            default=TRASH_RETENTION.days,
            help="Keep rows that were deleted less than this number of days ago.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        before = timezone.now() - timedelta(days=options["days"])
        delete_shared_leftovers()
        for name in purge_whole_tenants():
            self.stdout.write(f"{name}: the tenant")
        for tenant in find_tenants_with_expired_rows():
            delete_expired_rows(tenant)
        for tenant in find_tenants_with_trash(before):
            for name, count in purge_trash_of(tenant, before, lambda: None).items():
                self.stdout.write(f"{tenant.subdomain}: {count} {name}(s)")
        for tenant in find_tenants_with_old_events():
            if count := delete_old_events_of(tenant, lambda: None):
                self.stdout.write(f"{tenant.subdomain}: {count} event(s)")
