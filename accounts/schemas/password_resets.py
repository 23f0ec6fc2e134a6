"""Password resets: bodies."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, Secret, StringConstraints

from accounts.schemas.fields import Password
from taskflow.http.schema import In, Out, example

LinkToken = Annotated[
    Secret[Annotated[str, StringConstraints(min_length=1, max_length=200)]],
    Field(
        description="The value of `token` in the link of the mail.",
        json_schema_extra={"format": "password", "writeOnly": True},
    ),
]


class LinkBody(In):
    """The token of a link."""

    model_config = example(**{"token": "tm_1_…"})

    token: LinkToken


class PasswordResetRequest(In):
    """The person who has forgotten the password."""

    model_config = example(email="ada@acme.example")

    email: str = Field(max_length=255, description="The e-mail, without regard to case.")
    tenant: str | None = Field(
        None,
        max_length=63,
        description="Subdomain of the tenant. When absent: that of X-Tenant or the host, or the"
        " default tenant.",
    )


class PasswordResetAccepted(Out):
    """The same for every e-mail."""

    detail: str = Field(
        description="A sentence to show to people.",
        examples=["If an active person has this e-mail, a link was sent to it."],
    )


class PasswordResetCompletion(In):
    """The token of a link, and the new password."""

    model_config = example(
        **{"token": "tm_1_…", "password": "a long enough passphrase"},
    )

    token: LinkToken
    password: Password
