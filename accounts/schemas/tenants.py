"""The tenant: bodies and responses."""

from __future__ import annotations

from pydantic import MISSING, Field, StrictBool, StrictInt

from accounts.schemas.fields import TenantName
from taskflow.http.schema import CreatedAt, In, Out, RowId, UpdatedAt, Version, example


class TenantResponse(Out):
    """A tenant: an organization whose data no other tenant sees."""

    id: RowId
    name: str = Field(description="The name.")
    subdomain: str = Field(description="The DNS label that names it in hosts and in X-Tenant.")
    time_zone: str = Field(description="The IANA name of its time zone, such as Europe/Berlin.")
    second_factor_required: bool = Field(
        description="Whether administrators have to have a second factor."
    )
    max_attempts: int = Field(
        description="How often a task may be claimed without a result, before it is given to the"
        " owner of its project."
    )
    version: Version
    created_at: CreatedAt
    updated_at: UpdatedAt


class QuotaUsage(Out):
    """How much of a quota the tenant uses."""

    used: int = Field(description="The present number. Rows in the trash count.")
    limit: int | None = Field(description="The limit of this installation; null for none.")


class TenantUsage(Out):
    """What the tenant uses. The numbers may be some seconds old."""

    projects: QuotaUsage = Field(description="Projects.")
    tasks: QuotaUsage = Field(description="Tasks.")
    comments: QuotaUsage = Field(description="Comments.")
    pages: QuotaUsage = Field(description="Pages.")
    tags: QuotaUsage = Field(description="Tags.")
    users: QuotaUsage = Field(description="Active users and agents.")
    tokens: QuotaUsage = Field(
        description="Tokens that are neither revoked nor expired, without those of signing in."
    )
    webhooks: QuotaUsage = Field(description="Webhooks, paused ones too.")
    views: QuotaUsage = Field(description="Stored views of all users.")
    text_bytes: QuotaUsage = Field(
        description="Bytes of the titles, names, descriptions and texts of these rows, with links"
        " and metadata as JSON."
    )


class TenantUpdate(In):
    """The fields to change. Fields that are absent stay as they are."""

    model_config = example(time_zone="Europe/Berlin")

    name: TenantName | MISSING = MISSING
    time_zone: str | MISSING = Field(
        MISSING,
        max_length=63,
        description="The IANA name of the time zone. Days in filters begin at its midnight.",
        examples=["Europe/Berlin"],
    )
    second_factor_required: StrictBool | MISSING = Field(
        MISSING,
        description="True: an administrator without a second factor has to enrol one at the next"
        " sign-in. Tokens and sessions that exist stay valid.",
    )
    max_attempts: StrictInt | MISSING = Field(
        MISSING,
        ge=1,
        le=100,
        description="How often a task may be claimed without a result, before it is given to the"
        " owner of its project.",
        examples=[5],
    )
