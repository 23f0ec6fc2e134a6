"""API tokens: bodies and responses."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field, StrictInt

from taskflow.audit.actor import TokenScope
from taskflow.http.paging import ListResponse
from taskflow.http.references import ProjectReference, UserReference, WithReferences
from taskflow.http.schema import CreatedAt, Id, OneLine, Out, RowId, UpdatedAt, Version, example


class TokenCreate(WithReferences):
    """A new token."""

    model_config = example(name="nightly report", scope="read", expires_in_days=30)

    name: Annotated[
        str,
        Field(
            min_length=1, max_length=100, description="What it is for.", examples=["nightly report"]
        ),
        OneLine,
    ]
    scope: TokenScope = TokenScope.WRITE
    expires_in_days: StrictInt | None = Field(
        None, ge=1, le=3650, description="Days until it expires; 90 when absent."
    )
    projects: list[ProjectReference] | None = Field(
        None,
        min_length=1,
        max_length=100,
        description="Limit the token to these projects, by id or key, which you can see; null for"
        " no limit.",
    )
    project_ids: list[Id] | None = Field(
        None,
        min_length=1,
        max_length=100,
        description="The ids of the projects, in place of `projects`.",
    )
    user: UserReference | None = Field(
        None, description="One of your agents, by id or `@handle`; yourself when absent."
    )
    user_id: Id | None = Field(None, description="The id of the user, in place of `user`.")


class TokenResponse(Out):
    """A token, without its text."""

    id: RowId
    user_id: int = Field(description="The id of the user that it signs in.")
    issued_by_id: int | None = Field(
        description="The id of the user who created it for an agent; null if its user did, or an"
        " operator. It shows only projects that this user can see too."
    )
    name: str = Field(description="What it is for.")
    prefix: str = Field(description="The first characters of its text.")
    scope: TokenScope
    project_ids: list[int] | None = Field(
        description="The projects that it is limited to; null for no limit."
    )
    expires_at: datetime | None = Field(description="When it expires, in UTC; null: never.")
    revoked_at: datetime | None = Field(description="When it was revoked, in UTC, or null.")
    last_used_at: datetime | None = Field(description="Updated at most once an hour.")
    version: Version
    created_at: CreatedAt
    updated_at: UpdatedAt


class IssuedTokenResponse(TokenResponse):
    """A new token, with its text."""

    token: str = Field(description="Shown once; only its SHA-256 is stored.")


class TokenListResponse(ListResponse[TokenResponse]):
    """A page of the list of tokens."""
