"""`recount`: check what is computed from other values and stored, and correct it.

That is the task counts of projects, and the columns for sorting and searching.
"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import Tenant
from taskflow.db.computed import computed_fields
from taskflow.tenancy import inside
from tasks.export.unfinished import finished_tenants
from tasks.models import RESOURCE_TYPES, Project, TaskCountDelta
from tasks.models.computed import count_wrong_rows, repair_rows


class Command(BaseCommand):
    help = (
        "Compare stored task counts with the tasks, and the columns for sorting and searching with"
        " the texts that they are computed from, while others may write."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--repair", action="store_true", help="Correct what is wrong.")

    def handle(self, *args: Any, **options: Any) -> None:
        wrong = 0
        for tenant in finished_tenants():
            with inside(tenant):
                wrong += self._check_counts(tenant, repair=options["repair"])
                wrong += self._check_columns(tenant, repair=options["repair"])
        if wrong and not options["repair"]:
            raise CommandError(f"{wrong} values are wrong. Run the command with --repair.")
        self.stdout.write(f"{wrong} values repaired." if wrong else "All values are right.")

    def _check_counts(self, tenant: Tenant, *, repair: bool) -> int:
        """Report the projects with wrong counts. Return their number."""
        wrong = 0
        for project, missing in TaskCountDelta.find_wrong_counts(Project.everything.all()):
            wrong += 1
            differences = ", ".join(f"{n:+} {status}" for status, n in missing.items() if n)
            self.stdout.write(f"{tenant.subdomain} {project.key}: {differences}")
        if repair:
            TaskCountDelta.repair(Project.everything.all())
        return wrong

    def _check_columns(self, tenant: Tenant, *, repair: bool) -> int:
        """Report the rows with wrong columns for sorting and searching. Return their number."""
        wrong = 0
        for model in [t.model for t in RESOURCE_TYPES if computed_fields(t.model)]:
            count = repair_rows(model) if repair else count_wrong_rows(model)
            if count:
                self.stdout.write(f"{tenant.subdomain}: {count} {model._meta.verbose_name_plural}")
            wrong += count
        return wrong
