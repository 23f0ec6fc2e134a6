"""Actions on tenants: register one, create an operator, change its settings."""

from __future__ import annotations

from typing import Any, cast

from django.conf import settings
from django.db import IntegrityError, transaction

from accounts.actions.users import save_new_user
from accounts.models import (
    PLATFORM,
    RESERVED_SUBDOMAINS,
    SUBDOMAIN,
    Tenant,
    User,
)
from accounts.rules import (
    require_staff,
)
from taskflow.audit.actor import Actor
from taskflow.audit.models import Via
from taskflow.audit.recorder import change
from taskflow.http.errors import Conflict, Invalid
from taskflow.tenancy import inside


def register_tenant(
    *,
    tenant_name: str,
    subdomain: str,
    full_name: str,
    email: str,
    password: str,
    via: Via,
    request_id: str = "",
) -> Actor:
    """Create a tenant and its first administrator, who is returned as the actor.

    Raises Conflict when the subdomain is taken, Invalid when it is reserved or the password weak.
    """
    _check_subdomain(subdomain)
    tenant = Tenant(name=tenant_name, subdomain=subdomain)
    user = User(full_name=full_name, email=email, is_staff=True)
    try:
        return create_tenant(tenant, user, password=password, via=via, request_id=request_id)
    except IntegrityError:  # nothing else in a new tenant can be taken
        raise Conflict("This subdomain is taken. Choose another.", code="taken") from None


def _check_subdomain(subdomain: str) -> None:
    """Raise Invalid for a subdomain that cannot be registered, whether or not it exists."""
    if subdomain in RESERVED_SUBDOMAINS or not SUBDOMAIN.fullmatch(subdomain):
        raise Invalid.field("subdomain", f"“{subdomain}” cannot be a subdomain. Choose another.")
    if subdomain == settings.DEFAULT_TENANT.lower():
        # Every sign-in at a host without a subdomain would go to this tenant.
        raise Invalid.field(
            "subdomain",
            f"“{subdomain}” is the default tenant of this installation and cannot be registered."
            " Choose another.",
        )


def create_operator(*, email: str, full_name: str, password: str) -> User:
    """Create an operator in the platform tenant. The first call also creates that tenant."""
    user = User(full_name=full_name, email=email, is_staff=True, is_superuser=True)
    platform = Tenant.objects.filter(subdomain=PLATFORM).first()
    if platform is None:
        tenant = Tenant(name="Platform", subdomain=PLATFORM)
        return create_tenant(tenant, user, password=password, via=Via.COMMAND).user
    with inside(platform):
        return save_new_user(Actor(user, platform, via=Via.COMMAND), user, password)


def create_tenant(
    tenant: Tenant, administrator: User, *, password: str | None, via: Via, request_id: str = ""
) -> Actor:
    """Save a tenant and its first administrator, who is recorded as the actor of both.

    Raises IntegrityError when the subdomain is taken.
    """
    tenant.full_clean(validate_unique=False)
    actor = Actor(administrator, tenant, via=via, request_id=request_id)
    with transaction.atomic():  # otherwise a failure could leave a tenant without users
        tenant.save(force_insert=True)
        with inside(tenant):
            save_new_user(actor, administrator, password)
    return actor


def update_tenant(actor: Actor, **values: Any) -> Tenant:
    """Change the name or time zone of the actor's tenant. For administrators."""
    require_staff(actor)
    # A tenant is no TenantModel, but has every attribute that the recorder uses.
    return change(actor, cast(Any, actor.tenant), **values)  # type: ignore[no-any-return]
