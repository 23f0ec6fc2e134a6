"""`purge`: permanently delete rows that are in the trash for 30 days, and old idempotency keys."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from accounts.idempotency import delete_expired_records
from accounts.models import Tenant, User
from taskflow.audit.actor import Actor
from taskflow.audit.models import Via
from taskflow.audit.resource_types import ResourceType
from taskflow.http.contention import run_with_retries
from taskflow.tenancy import inside
from tasks.actions.trash import purge_older
from tasks.models.registry import TRASHABLE_TYPES
from tasks.models.trash import TRASH_RETENTION


class Command(BaseCommand):
    help = (
        "Permanently delete rows that are in the trash for 30 days, and idempotency keys older"
        " than a day."
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
        for tenant in Tenant.objects.order_by("pk"):
            with inside(tenant):
                delete_expired_records()
            actor = Actor(User(is_superuser=True), tenant, via=Via.COMMAND)
            for resource_type in TRASHABLE_TYPES:
                count = 0
                while self._purge_one(actor, resource_type, before):
                    count += 1
                if count:
                    self.stdout.write(f"{tenant.subdomain}: {count} {resource_type.name}(s)")

    def _purge_one(
        self, actor: Actor, resource_type: ResourceType, deleted_before: datetime
    ) -> bool:
        """Purge one row in a transaction of its own, so that other writers do not wait for long.

        Return whether there was one.
        """

        def purge() -> bool:
            with inside(actor.tenant):
                return purge_older(actor, resource_type, deleted_before)

        return run_with_retries(purge)
