"""
Tenant isolation: a row of one tenant is never visible to another.

A unit of work is a transaction that is bound to one tenant: `with inside(tenant): …`. Two
protections are independent of each other.

* In the application, TenantManager raises TenantError outside a unit of work and filters by its
  tenant inside. Saving, bulk writing and deleting rows of another tenant raise it too.
* In the database, composite foreign keys (tenant_id, x_id) on both databases; on PostgreSQL also
  forced row-level security, bound with SET LOCAL so that it ends with the transaction.

The database's constraints are Meta.constraints that every TenantModel gets by itself, so
`makemigrations` writes them and no model can be without them.

>>> Task.objects.count()
TenantError: Task was queried outside a tenant: enter one with `inside(tenant)`.
"""

from __future__ import annotations

from taskflow.tenancy.constraints import (
    CompositeFK,
    RowSecurity,
    TenantPrimaryKey,
    TenantStatistics,
)
from taskflow.tenancy.models import (
    TenantFK,
    TenantManager,
    TenantModel,
    TenantQuerySet,
    is_tenant_model,
)
from taskflow.tenancy.unit import (
    APP_ROLE,
    OWNER_ROLE,
    TenantError,
    across_tenants,
    allow_early_commit,
    clear_roles_cache,
    current_tenant_id,
    has_roles,
    inside,
    with_tenant_parameter,
)

__all__ = [
    "APP_ROLE",
    "OWNER_ROLE",
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
    "clear_roles_cache",
    "current_tenant_id",
    "has_roles",
    "inside",
    "is_tenant_model",
    "with_tenant_parameter",
]
