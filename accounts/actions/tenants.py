"""Actions on tenants: create one, create an operator, change its settings."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils.translation import gettext, gettext_noop

from accounts.actions.users import save_new_user
from accounts.models import PLATFORM, SUBDOMAIN, Tenant, User
from accounts.reserved import (
    RESERVED_NAMES,
    RESERVED_SUBDOMAINS,
    is_encoded_label,
    looks_like_one_of,
)
from accounts.rules import require_staff
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

    Raises Conflict when the subdomain is taken, and Invalid when the password is weak, or when the
    subdomain or the name is reserved or looks like one that is.
    """
    _check_subdomain(subdomain)
    _check_not_reserved(subdomain=subdomain, tenant_name=tenant_name)
    tenant = Tenant(name=tenant_name, subdomain=subdomain)
    user = User(full_name=full_name, email=email, is_staff=True)
    return _create_unique(tenant, user, password=password, via=via, request_id=request_id)


def create_tenant_as_operator(
    *,
    tenant_name: str,
    subdomain: str,
    full_name: str,
    email: str,
    password: str | None,
    via: Via = Via.COMMAND,
    operator: User | None = None,
    request_id: str = "",
) -> Actor:
    """Create a tenant and its first administrator, who is returned as the actor.

    The event names the operator, or the administrator if none is given.

    Without a password, the administrator sets one with a link: issue_first_password_link().

    An operator may also create the default tenant, and tenants whose names look like others.
    Raises Conflict when the subdomain is taken, Invalid for the subdomain of a part of the
    installation, such as `www`, and for a weak password.
    """
    _check_subdomain(subdomain)
    tenant = Tenant(name=tenant_name, subdomain=subdomain)
    user = User(full_name=full_name, email=email, is_staff=True)
    return _create_unique(
        tenant, user, password=password, via=via, request_id=request_id, operator=operator
    )


def _create_unique(
    tenant: Tenant,
    administrator: User,
    *,
    password: str | None,
    via: Via,
    request_id: str = "",
    operator: User | None = None,
) -> Actor:
    """Create the tenant as create_tenant() does. Raises Conflict when the subdomain is taken."""
    try:
        return create_tenant(
            tenant,
            administrator,
            password=password,
            via=via,
            request_id=request_id,
            operator=operator,
        )
    except IntegrityError:  # nothing else in a new tenant can be taken
        raise Conflict(
            gettext_noop("This subdomain is taken. Choose another."), code="taken"
        ) from None


def _check_subdomain(subdomain: str) -> None:
    """Raise Invalid for what can be no tenant's subdomain, whether or not it exists."""
    if (
        subdomain in RESERVED_SUBDOMAINS
        or not SUBDOMAIN.fullmatch(subdomain)
        or is_encoded_label(subdomain)
    ):
        raise Invalid.field(
            "subdomain",
            gettext("“%(subdomain)s” cannot be a subdomain. Choose another.")
            % {"subdomain": subdomain},
        )


def _check_not_reserved(**names: str) -> None:
    """Raise Invalid for a name that people could take for the default tenant or the installation.

    `names` are the new `subdomain`, and the new name of a tenant by the field that has it. Every
    sign-in at a host without a subdomain goes to the default tenant. One query.
    """
    default = settings.DEFAULT_TENANT.lower()
    stored = Tenant.objects.filter(subdomain=default).values_list("name", flat=True)
    of_default = {default, *stored}
    for field, name in names.items():
        reserved = RESERVED_SUBDOMAINS if field == "subdomain" else RESERVED_NAMES
        if looks_like_one_of(name, of_default | reserved):
            raise Invalid.field(
                field,
                gettext(
                    "“%(name)s” is reserved on this installation: it is the name of its default"
                    " tenant or of one of its parts, or looks like one. Choose another."
                )
                % {"name": name},
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
    tenant: Tenant,
    administrator: User,
    *,
    password: str | None,
    via: Via,
    request_id: str = "",
    operator: User | None = None,
) -> Actor:
    """Save a tenant and its first administrator, who is returned as the actor.

    The event names the operator if one is given, and otherwise the administrator. Raises
    IntegrityError when the subdomain is taken.
    """
    tenant.full_clean(validate_unique=False)
    actor = Actor(administrator, tenant, via=via, request_id=request_id)
    with transaction.atomic():  # otherwise a failure could leave a tenant without users
        tenant.save(force_insert=True)
        with inside(tenant):
            save_new_user(replace(actor, user=operator or administrator), administrator, password)
    return actor


def update_tenant(actor: Actor, **values: Any) -> Tenant:
    """Change the name or time zone of the actor's tenant. For administrators.

    Raises Invalid for a reserved name, except for the default tenant and the platform.
    """
    require_staff(actor)
    may_have_any_name = actor.tenant.subdomain in (PLATFORM, settings.DEFAULT_TENANT.lower())
    if "name" in values and not may_have_any_name:
        _check_not_reserved(name=values["name"])
    # A tenant is no TenantModel, but has every attribute that the recorder uses.
    return change(actor, cast(Any, actor.tenant), **values)  # type: ignore[no-any-return]
