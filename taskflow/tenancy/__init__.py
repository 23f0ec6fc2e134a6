"""
The wall between tenants.

A scope is a transaction bound to one tenant: `with inside(tenant): …`. Two locks hold it.

* The application's: TenantManager answers nothing outside a scope and only the scope's rows
  inside; saving, bulk writing and deleting are guarded.
* The database's: composite foreign keys (tenant_id, x_id) on both databases; on PostgreSQL
  forced row-level security too, bound with SET LOCAL so that no connection carries it over.

The guards are Meta.constraints that every TenantModel gets by itself, so `makemigrations`
writes them and a new model cannot forget them.

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
    asking,
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
    "asking",
    "current_tenant_id",
    "forget_roles",
    "has_roles",
    "inside",
    "is_tenant_model",
    "with_tenant_parameter",
]
