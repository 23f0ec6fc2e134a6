"""Factories of tenants, users and API tokens. They create through the actions, so that events,
counts and constraints are those of the product.

`actor` is who creates the row; without one, it is the administrator of a new tenant. No unit of
work has to be open.
"""

from __future__ import annotations

from typing import Any

import factory

from accounts.actions.tenants import create_tenant
from accounts.actions.tokens import issue_token
from accounts.actions.users import create_user
from accounts.models import ApiToken, Tenant, User, UserKind
from taskflow.audit.actor import Actor, TokenScope
from taskflow.audit.models import Via
from taskflow.tenancy import inside


class AdministratorFactory(factory.Factory):
    """A tenant with its first administrator. The result is the administrator as an actor."""

    class Meta:
        model = Actor

    subdomain = factory.Sequence(lambda n: f"tenant-{n}")
    handle = "boss"
    password = None

    @classmethod
    def _create(cls, model_class: Any, *args: Any, **values: Any) -> Actor:
        subdomain, handle = values["subdomain"], values["handle"]
        tenant = Tenant(name=subdomain.title(), subdomain=subdomain)
        user = User(handle=handle, email=f"{handle}@{subdomain}.example", is_staff=True)
        return create_tenant(tenant, user, password=values["password"], via=Via.COMMAND)


class TenantFactory(AdministratorFactory):
    """A tenant. `handle` and `password` are those of its first administrator."""

    class Meta:
        model = Tenant

    @classmethod
    def _create(cls, model_class: Any, *args: Any, **values: Any) -> Tenant:
        return super()._create(model_class, *args, **values).tenant


class ActionFactory(factory.Factory):
    """Base class: create() calls the action as the actor, in a unit of work of their tenant."""

    class Meta:
        abstract = True

    actor = factory.SubFactory(AdministratorFactory)

    @classmethod
    def _create(cls, model_class: Any, *args: Any, **values: Any) -> Any:
        actor = values.pop("actor")
        with inside(actor.tenant):
            return cls.call_action(actor, **values)

    @classmethod
    def call_action(cls, actor: Actor, **values: Any) -> Any:
        raise NotImplementedError


class UserFactory(ActionFactory):
    class Meta:
        model = User

    handle = factory.Sequence(lambda n: f"user-{n}")
    email = factory.LazyAttribute(
        lambda user: f"{user.handle}@{user.actor.tenant.subdomain}.example"
    )
    full_name = factory.LazyAttribute(lambda user: user.handle.title())

    @classmethod
    def call_action(cls, actor: Actor, **values: Any) -> User:
        return create_user(actor, **values)


class AgentFactory(UserFactory):
    """An agent. Its responsible user is the actor, unless `responsible` is given."""

    handle = factory.Sequence(lambda n: f"agent-{n}")
    kind = UserKind.AGENT
    email = None
    full_name = ""


class ApiTokenFactory(ActionFactory):
    """A token of the actor that never expires. The result is the row and its text, of which the
    database stores only a digest.
    """

    class Meta:
        model = ApiToken

    name = "test"
    scope = TokenScope.ADMIN
    expires_at = None

    @classmethod
    def call_action(cls, actor: Actor, **values: Any) -> tuple[ApiToken, str]:
        return issue_token(actor, actor.user, **values)
