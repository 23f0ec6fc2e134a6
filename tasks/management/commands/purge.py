"""`purge`: permanently delete rows that are in the trash for 30 days, old idempotency keys,
sessions and deliveries.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.contrib.sessions.backends.db import SessionStore
from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from accounts.actions.mail_tokens import delete_expired_mail_tokens
from accounts.actions.sessions import SESSION_RETENTION
from accounts.idempotency import delete_expired_records
from accounts.limits import delete_old_counters
from accounts.models import Session, User
from taskflow.audit.actor import Actor
from taskflow.audit.models import Via
from taskflow.audit.resource_types import ResourceType
from taskflow.db.batches import MAX_WAIT, pause_for_writers
from taskflow.http.contention import run_with_retries
from taskflow.tenancy import inside
from tasks.actions.trash import purge_older
from tasks.export.deletion import delete_due_tenants
from tasks.export.unfinished import discard_leftovers, finished_tenants
from tasks.models.deliveries import DELIVERY_RETENTION, Delivery
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
        SessionStore.clear_expired()
        discard_leftovers()
        delete_old_counters()
        for deleted in delete_due_tenants():
            self.stdout.write(f"{deleted.name}: the tenant")
        for tenant in finished_tenants():
            with inside(tenant, max_wait=MAX_WAIT):
                delete_expired_records()
                delete_expired_mail_tokens()
                Session.objects.all().forget_ended(timezone.now() - SESSION_RETENTION)
                Delivery.objects.all().forget_finished(timezone.now() - DELIVERY_RETENTION)
            actor = Actor(User(is_superuser=True), tenant, via=Via.COMMAND)
            for resource_type in TRASHABLE_TYPES:
                count = 0
                while (is_complete := self._purge_some(actor, resource_type, before)) is not None:
                    count += is_complete
                    pause_for_writers()
                if count:
                    self.stdout.write(f"{tenant.subdomain}: {count} {resource_type.name}(s)")

    def _purge_some(
        self, actor: Actor, resource_type: ResourceType, deleted_before: datetime
    ) -> bool | None:
        """Purge a part of a row in a transaction of its own, so that other writers do not wait for
        long.

        Return whether the row itself is purged; None if there is none.
        """

        def purge() -> bool | None:
            with inside(actor.tenant, max_wait=MAX_WAIT):
                return purge_older(actor, resource_type, deleted_before)

        return run_with_retries(purge)
