"""Users: bodies, filters and responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import MISSING, Field, StrictBool

from accounts.models import Tenant, User, UserKind
from accounts.schemas.fields import (
    CurrentPassword,
    FullName,
    Handle,
    IsStaff,
    Password,
    ResponsibleId,
    RevokeAgentTokens,
    UserEmail,
)
from accounts.schemas.tenants import TenantResponse
from taskflow.audit.actor import Actor, TokenScope
from taskflow.http.filtering import NameFilters
from taskflow.http.paging import ListResponse, PageParams
from taskflow.http.references import ResponsibleReference, WithReferences
from taskflow.http.schema import CreatedAt, In, Out, RowId, UpdatedAt, Version, example


class UserResponse(Out):
    """A user of the tenant: a person or an agent."""

    id: RowId
    kind: UserKind
    handle: str = Field(description="The short name, unique in the tenant.")
    email: str | None = Field(description="The e-mail to sign in with; null for most agents.")
    full_name: str = Field(description="The name, as people write it; may be empty.")
    is_active: bool = Field(description="Whether the user can sign in and use tokens.")
    is_staff: bool = Field(description="Whether the user administers the tenant.")
    responsible_id: int | None = Field(
        description="For an agent, the id of the user who is responsible for it; else null."
    )
    version: Version
    created_at: CreatedAt
    updated_at: UpdatedAt


class MeResponse(UserResponse):
    """You, your tenant, and what your credentials permit."""

    tenant: TenantResponse
    scope: TokenScope = Field(description="Scope of the credentials that this request uses.")

    @staticmethod
    def resolve_tenant(user: User, context: Mapping[str, Any]) -> Tenant:
        return _get_actor(context).tenant

    @staticmethod
    def resolve_scope(user: User, context: Mapping[str, Any]) -> TokenScope:
        return _get_actor(context).scope


class UserRef(Out):
    """A user inside another response."""

    id: RowId
    handle: str = Field(description="The short name, unique in the tenant.")
    full_name: str = Field(description="The name, as people write it; may be empty.")
    email: str | None = Field(description="The e-mail, or null.")
    kind: UserKind
    responsible_id: int | None = Field(
        description="For an agent, the id of the user who is responsible for it; else null."
    )


class UserCreate(WithReferences):
    """A new user: a person with an e-mail, or an agent with a responsible user."""

    model_config = example(handle="erin", email="erin@acme.example", full_name="Erin Example")

    kind: UserKind = UserKind.HUMAN
    handle: Handle | None = Field(
        None, description="The short name, unique in the tenant. Derived from the e-mail if absent."
    )
    email: UserEmail | None = None
    password: Password | None = None
    full_name: FullName = ""
    is_staff: IsStaff = False
    responsible: ResponsibleReference | None = None
    responsible_id: ResponsibleId | None = None


class UserUpdate(WithReferences):
    """The fields to change. Fields that are absent stay as they are."""

    model_config = example(full_name="Bob Okafor")

    handle: Handle | MISSING = MISSING
    email: UserEmail | None | MISSING = MISSING
    password: Password | MISSING = MISSING
    current_password: CurrentPassword | MISSING = MISSING
    revoke_agent_tokens: RevokeAgentTokens = False
    full_name: FullName | MISSING = MISSING
    is_staff: IsStaff | MISSING = MISSING
    is_active: StrictBool | MISSING = Field(
        MISSING, description="False: the user can no longer sign in, and the tokens are revoked."
    )
    responsible: ResponsibleReference | None | MISSING = MISSING
    responsible_id: ResponsibleId | None | MISSING = MISSING


class MeUpdate(In):
    """The fields to change. Fields that are absent stay as they are."""

    model_config = example(full_name="Ada Lindqvist")

    handle: Handle | MISSING = MISSING
    email: UserEmail | MISSING = MISSING
    current_password: CurrentPassword | MISSING = MISSING
    revoke_agent_tokens: RevokeAgentTokens = False
    full_name: FullName | MISSING = MISSING


class PasswordChange(In):
    """The present password and the new one."""

    model_config = example(
        **{"current_password": "taskflow-demo-2026", "new_password": "a long enough passphrase"}
    )

    current_password: CurrentPassword
    new_password: Password
    revoke_agent_tokens: RevokeAgentTokens = False


class UserFilters(PageParams, NameFilters):
    """Filters of users. `q` finds handles and full names."""

    kind: UserKind | MISSING = Field(MISSING, description="People, or agents.")
    is_active: StrictBool | MISSING = Field(
        MISSING, description="`true`: active users; `false`: deactivated users."
    )
    handle: str | MISSING = Field(MISSING, max_length=50, description="Without regard to case.")
    email: str | MISSING = Field(MISSING, max_length=255, description="Without regard to case.")


class UserListResponse(ListResponse[UserResponse]):
    """A page of the list of users."""


def _get_actor(context: Mapping[str, Any]) -> Actor:
    actor: Actor = context["request"].auth
    return actor
