"""The tenant: bodies and responses."""

from __future__ import annotations

from pydantic import MISSING, Field

from accounts.schemas.fields import TenantName
from taskflow.http.schema import CreatedAt, In, Out, RowId, UpdatedAt, Version, example


class TenantResponse(Out):
    """A tenant: an organization whose data no other tenant sees."""

    id: RowId
    name: str = Field(description="The name.")
    subdomain: str = Field(description="The DNS label that names it in hosts and in X-Tenant.")
    time_zone: str = Field(description="The IANA name of its time zone, such as Europe/Berlin.")
    version: Version
    created_at: CreatedAt
    updated_at: UpdatedAt


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
