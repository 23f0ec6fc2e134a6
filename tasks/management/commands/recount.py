"""`recount`: check the stored task counts of projects, and correct them."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import Tenant
from taskflow.tenancy import inside
from tasks.models import Project, TaskCountDelta


class Command(BaseCommand):
    help = (
        "Compare the stored task counts of all projects with their tasks, while others may write."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--repair", action="store_true", help="Correct wrong counts.")

    def handle(self, *args: Any, **options: Any) -> None:
        wrong = 0
        for tenant in Tenant.objects.order_by("pk"):
            with inside(tenant):
                for project, missing in TaskCountDelta.find_wrong_counts(Project.everything.all()):
                    wrong += 1
                    differences = ", ".join(f"{n:+} {status}" for status, n in missing.items() if n)
                    self.stdout.write(f"{tenant.subdomain} {project.key}: {differences}")
                if options["repair"]:
                    TaskCountDelta.repair(Project.everything.all())
        if wrong and not options["repair"]:
            raise CommandError(
                f"{wrong} projects have wrong counts. Run the command with --repair."
            )
        self.stdout.write(f"{wrong} projects repaired." if wrong else "All counts are right.")
