"""Close a tenant. Its rows stay as they are."""

from __future__ import annotations

from accounts.actions.tenant_lifecycle import deactivate_tenant
from accounts.management.tenant_command import TenantCommand
from taskflow.audit.actor import Actor


class Command(TenantCommand):
    help = "Close a tenant: nobody signs in, and tokens and sessions do not work. Nothing is lost."

    def act(self, operator: Actor) -> str:
        tenant = deactivate_tenant(operator)
        return f"{tenant.name} is deactivated. activate_tenant opens it again."
