"""
Tenant isolation: a row of one tenant is never visible to another.

A unit of work is a transaction that is bound to one tenant: `with inside(tenant): …`. Two
independent protections keep tenants apart:

* In the application, TenantManager raises TenantError outside a unit of work, and inside filters by
  the tenant. Saving, bulk writing and deleting rows of another tenant raise TenantError, too.
* In the database, foreign keys include the tenant: (tenant_id, x_id). On PostgreSQL, row-level
  security is forced; the tenant is set with SET LOCAL, which ends with the transaction.

The constraints of the database are in Meta.constraints. They are added to every TenantModel
automatically, so `makemigrations` writes them and no model can be without them.

>>> Task.objects.count()
TenantError: Task was queried outside a tenant: open a unit of work with `inside()`.
"""

from __future__ import annotations

from taskflow.tenancy.constraints import (
    CompositeFK,
    RowSecurity,
    TenantPrimaryKey,
    TenantStatistics,
)
from taskflow.tenancy.models import (
    Changes,
    TenantFK,
    TenantManager,
    TenantModel,
    TenantQuerySet,
    is_tenant_model,
)
from taskflow.tenancy.unit import (
    APP_ROLE,
    OWNER_ROLE,
    PLATFORM_ROLE,
    TenantError,
    across_tenants,
    allow_early_commit,
    can_read_across_tenants,
    clear_roles_cache,
    current_tenant_id,
    has_roles,
    inside,
    read_one_snapshot,
    with_tenant_parameter,
)

__all__ = [
    "APP_ROLE",
    "OWNER_ROLE",
    "PLATFORM_ROLE",
    "Changes",
    "CompositeFK",
    "RowSecurity",
    "TenantError",
    "TenantFK",
    "TenantManager",
    "TenantModel",
    "TenantPrimaryKey",
    "TenantQuerySet",
    "TenantStatistics",
    "across_tenants",
    "allow_early_commit",
    "can_read_across_tenants",
    "clear_roles_cache",
    "current_tenant_id",
    "has_roles",
    "inside",
    "is_tenant_model",
    "read_one_snapshot",
    "with_tenant_parameter",
]
