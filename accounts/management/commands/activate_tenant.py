"""Open a tenant that is deactivated, or that is to be deleted."""

from __future__ import annotations

from accounts.actions.tenant_lifecycle import activate_tenant
from accounts.management.tenant_command import TenantCommand
from taskflow.audit.actor import Actor


class Command(TenantCommand):
    help = "Open a tenant that was deactivated. A scheduled deletion is taken back."

    def act(self, operator: Actor) -> str:
        tenant = activate_tenant(operator)
        return f"{tenant.name} is active."
