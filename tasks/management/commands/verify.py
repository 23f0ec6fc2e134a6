"""`verify`: check that the database contains what the event log says, while the server runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from accounts.models import Tenant
from taskflow.audit.replay import find_differences_from_log
from taskflow.db.computed import computed_fields
from taskflow.db.description import describe_database
from taskflow.tenancy import across_tenants, has_roles, inside, read_one_snapshot
from taskflow.tenancy.references import count_rows_without_tenant, find_broken_references
from tasks.export.format import BACKUP, exported_models
from tasks.export.unfinished import finished_tenants
from tasks.models import RESOURCE_TYPES, Project, ProjectKey, TaskCountDelta
from tasks.models.computed import find_wrong_columns

MAX_REPORTED = 100  # lines for each tenant


class Command(BaseCommand):
    help = (
        "Compare all rows with their events, their stored counts, their columns for sorting and"
        " searching, and the rows that they refer to. Changes nothing, and no writer waits for it."
        " Exits with 1 if something is wrong."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--tenant", help="Check only the tenant with this subdomain.")

    def handle(self, *args: Any, **options: Any) -> None:
        tenants = finished_tenants()
        if options["tenant"]:
            tenants = tenants.filter(subdomain=options["tenant"])
            if not tenants.exists():
                raise CommandError(f"There is no tenant “{options['tenant']}”.")
        self.stdout.write(f"Checking {describe_database(connection)}.")
        faults = sum([self._check(tenant) for tenant in tenants.iterator()])
        for sentence in find_rows_without_tenant():
            faults += 1
            self.stdout.write(sentence)
        if faults:
            raise CommandError(f"{faults:,} values are wrong.")
        if not tenants.exists():
            raise CommandError(
                "There is no tenant, so nothing was checked."
                " Set DATABASE_URL or TASKFLOW_DATA_DIR as for the server."
            )
        self.stdout.write("All values are right.")

    def _check(self, tenant: Tenant) -> int:
        """Report the faults of a tenant. Return their number."""
        count = 0
        with read_one_snapshot(), inside(tenant):
            rows = sum(model._base_manager.count() for model in exported_models(BACKUP))
            for count, sentence in enumerate(find_faults(), 1):
                if count <= MAX_REPORTED:
                    self.stdout.write(f"{tenant.subdomain}: {sentence}")
        more = count - MAX_REPORTED
        if more > 0:
            self.stdout.write(f"{tenant.subdomain}: {more:,} more values are wrong.")
        self.stdout.write(f"{tenant.subdomain}: checked {rows:,} rows, {count:,} values are wrong.")
        return count


def find_faults() -> Iterator[str]:
    """Yield a sentence for each wrong value of the current tenant. Needs constant memory."""
    for model in exported_models(BACKUP):
        for pk, name, target in find_broken_references(model):
            yield f"{_label(model)} {pk}, {name}: There is no row {target}."
    for project, missing in TaskCountDelta.find_wrong_counts(Project.everything.all()):
        for name, number in missing.items():
            if number:
                yield f"project {project.pk}, {name}: The stored count is wrong by {-number:+}."
    for model in [t.model for t in RESOURCE_TYPES if computed_fields(t.model)]:
        for pk, name in find_wrong_columns(model):
            yield f"{_label(model)} {pk}, {name}: The value is not the one of its text."
    for pk, key in ProjectKey.find_missing():
        yield f"project {pk}, key: No stored key finds the project by {key}."
    for resource_type in RESOURCE_TYPES:
        for pk, name, sentence in find_differences_from_log(resource_type):
            yield f"{resource_type.label} {pk}{name and f', {name}'}: {sentence}"


def find_rows_without_tenant() -> Iterator[str]:
    """Yield a sentence for each table with rows that belong to no tenant.

    A PostgreSQL database without the owner role shows no such rows to anybody.
    """
    if connection.vendor == "postgresql" and not has_roles(connection):
        return
    with read_one_snapshot(), across_tenants("find rows that belong to no tenant"):
        for model in exported_models(BACKUP):
            if count := count_rows_without_tenant(model):
                yield f"{count:,} rows of {model._meta.db_table} belong to no tenant."


def _label(model: Any) -> str:
    return str(model._meta.verbose_name)
