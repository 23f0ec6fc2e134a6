"""The base of commands with which an operator changes one tenant."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.models import Tenant, User
from taskflow.audit.actor import Actor
from taskflow.audit.models import Via
from taskflow.http.errors import Problem
from taskflow.tenancy import inside


class TenantCommand(BaseCommand):
    """Finds the tenant, and calls act() in a unit of work of it, as an operator."""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("tenant", help="The subdomain of the tenant.")

    def handle(self, *args: Any, **options: Any) -> None:
        tenant = find_tenant_to_change(options["tenant"])
        operator = Actor(User(is_superuser=True), tenant, via=Via.COMMAND)
        try:
            with inside(tenant):
                sentence = self.act(operator)
        except Problem as problem:
            raise CommandError(problem.detail) from None
        self.stdout.write(sentence)

    def act(self, operator: Actor) -> str:
        """Change the tenant of the actor. Return the sentence to print."""
        raise NotImplementedError


def find_tenant_to_change(subdomain: str) -> Tenant:
    """Return the tenant, active or not. Raises CommandError if there is none."""
    tenant = Tenant.objects.filter(subdomain=subdomain).first()
    if tenant is None:
        raise CommandError(f"There is no tenant “{subdomain}”.")
    return tenant
