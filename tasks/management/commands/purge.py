"""`purge`: delete for good what has been in the trash for long, and keys of old retries."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from accounts.idempotency import delete_expired_records
from accounts.models import Tenant, User
from taskflow.audit.actor import Actor
from taskflow.audit.models import Via
from taskflow.http.contention import run_with_retries
from taskflow.tenancy import inside
from tasks.actions.trash import PURGE, purge_older
from tasks.models.trash import KEPT


class Command(BaseCommand):
    help = "Delete for good what has been in the trash for 30 days, and day-old idempotency keys."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--days", type=int, default=KEPT.days, help="Keep what is younger than this."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        moment = timezone.now() - timedelta(days=options["days"])
        for tenant in Tenant.objects.order_by("pk"):
            with inside(tenant):
                delete_expired_records()
            actor = Actor(User(is_superuser=True), tenant, via=Via.COMMAND)
            for kind in PURGE:
                gone = 0
                while self._purge_one(actor, kind, moment):
                    gone += 1
                if gone:
                    self.stdout.write(f"{tenant.subdomain}: {gone} {kind.__name__.lower()}(s)")

    def _purge_one(self, actor: Actor, kind: Any, moment: Any) -> bool:
        """In a transaction of its own: nobody waits for the whole of it."""

        def purge() -> bool:
            with inside(actor.tenant):
                return purge_older(actor, kind, moment)

        return run_with_retries(purge)
