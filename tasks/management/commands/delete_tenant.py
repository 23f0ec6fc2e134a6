"""Export a tenant, close it, and let `purge` delete it after 30 days."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from accounts.actions.tenant_lifecycle import deactivate_tenant, schedule_deletion
from accounts.management.tenant_command import find_tenant_to_change
from accounts.models import Tenant, User
from taskflow.audit.actor import Actor
from taskflow.audit.models import Via
from taskflow.http.errors import Problem
from taskflow.tenancy import inside
from tasks.export.exporting import count_rows, export_tenant
from tasks.export.verifying import describe_error
from tasks.management.files import write_whole_file
from tasks.management.progress import ProgressBar


class Command(BaseCommand):
    help = (
        "Close a tenant, write all of it to a file, and let `purge` delete it after 30 days. Until"
        " then, activate_tenant takes it back."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("tenant", help="The subdomain of the tenant.")
        parser.add_argument(
            "--export", required=True, help="The new file of the export, readable only by you."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        tenant = find_tenant_to_change(options["tenant"])
        operator = Actor(User(is_superuser=True), tenant, via=Via.COMMAND)
        try:
            with inside(tenant):
                deactivate_tenant(operator)  # so that nothing is written after the export
            self._export(tenant, Path(options["export"]))
            with inside(tenant):
                schedule_deletion(operator)
        except Problem as problem:
            raise CommandError(problem.detail) from None
        self.stdout.write(
            f"{tenant.name} is deactivated. From {tenant.deletion_at:%Y-%m-%d %H:%M} UTC on,"
            " `purge` deletes it. Until then, activate_tenant takes it back."
        )

    def _export(self, tenant: Tenant, path: Path) -> None:
        bar = ProgressBar(count_rows(tenant), "rows")
        try:
            with write_whole_file(path) as file:
                export_tenant(tenant, file, bar.advance, note=self.stderr.write)
        except DatabaseError as error:
            raise CommandError(
                f"The database refused the export: {describe_error(error)}"
            ) from None
        bar.finish()
