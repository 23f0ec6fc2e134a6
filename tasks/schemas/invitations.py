"""Invitations: bodies, filters and responses."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from accounts.schemas.fields import FullName, Handle, IsStaff, Password, UserEmail
from accounts.schemas.password_resets import LinkToken
from taskflow.http.paging import ListResponse
from taskflow.http.references import ProjectReference
from taskflow.http.schema import CreatedAt, In, Out, RowId, UpdatedAt, Version, example
from tasks.models import Role
from tasks.models.invitations import InvitationState

MAX_PROJECTS = 50


class InvitedProject(In):
    """A project that the person joins."""

    project: ProjectReference
    role: Role = Role.MEMBER


class InvitationCreate(In):
    """A person to invite."""

    model_config = example(
        email="nora@acme.example",
        full_name="Nora Example",
        projects=[{"project": "WEB", "role": "member"}],
    )

    email: UserEmail
    full_name: FullName = ""
    is_staff: IsStaff = False
    projects: Annotated[
        list[InvitedProject],
        Field(max_length=MAX_PROJECTS, description="Projects that the person joins."),
    ] = []


class InvitedProjectResponse(Out):
    """A project that the person joins."""

    project_id: int = Field(description="The id of the project.")
    role: Role


class InvitationResponse(Out):
    """An invitation, without its link."""

    id: RowId
    email: str = Field(description="The e-mail to which the link was sent.")
    full_name: str = Field(description="The proposed name; may be empty.")
    is_staff: bool = Field(description="Whether the person becomes an administrator.")
    projects: list[InvitedProjectResponse] = Field(description="The projects to join.")
    state: InvitationState
    invited_by_id: int | None = Field(
        description="The id of the administrator who sent the last link; null for an operator."
    )
    user_id: int | None = Field(description="The id of the user who accepted, or null.")
    expires_at: datetime = Field(description="Until when the link works, in UTC.")
    accepted_at: datetime | None = Field(description="When it was accepted, in UTC, or null.")
    revoked_at: datetime | None = Field(description="When it was revoked, in UTC, or null.")
    version: Version
    created_at: CreatedAt
    updated_at: UpdatedAt


class InvitationListResponse(ListResponse[InvitationResponse]):
    """A page of the list of invitations."""


class InvitationAcceptance(In):
    """The token of a link, and the new user."""

    model_config = example(
        **{"token": "tm_1_…", "password": "a long enough passphrase"}, handle="nora"
    )

    token: LinkToken
    password: Password | None = Field(
        None, description="Required, unless a user has the e-mail by now. Spaces at its ends count."
    )
    handle: Handle | None = Field(
        None, description="The short name, unique in the tenant. Derived from the e-mail if absent."
    )
    full_name: FullName | None = Field(
        None, description="The name, as people write it; that of the invitation if absent."
    )
