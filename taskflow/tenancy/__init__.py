"""
Tenant isolation.

A unit of work is a transaction that is bound to one tenant: `with inside(tenant): …`. Two
independent protections keep tenants apart.

* In the application: TenantManager raises outside a unit of work and returns only the tenant's rows
  inside one; saving, bulk writing and deleting are guarded.
* In the database: composite foreign keys (tenant_id, x_id) on both databases; on PostgreSQL also
  forced row-level security, set with SET LOCAL so that it ends with the transaction.

These are Meta.constraints that every TenantModel gets by itself. `makemigrations` writes them, so a
new model cannot lack them.

>>> Task.objects.count()
TenantError: Task was queried outside a tenant: enter one with `inside(tenant)`.
"""

from __future__ import annotations

from taskflow.tenancy.constraints import CompositeFK, RowSecurity, TenantKey, TenantStatistics
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
    current_tenant_id,
    forget_roles,
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
    "TenantKey",
    "TenantManager",
    "TenantModel",
    "TenantQuerySet",
    "TenantStatistics",
    "across_tenants",
    "allow_early_commit",
    "current_tenant_id",
    "forget_roles",
    "has_roles",
    "inside",
    "is_tenant_model",
    "with_tenant_parameter",
]
