"""Registration and sign-in: bodies and responses."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from django.utils.translation import gettext_noop
from pydantic import Field

from accounts.models import SUBDOMAIN
from accounts.schemas.fields import Password, TenantName, UserEmail
from accounts.schemas.second_factors import OneTimeCode, RecoveryCodesResponse
from accounts.schemas.tenants import TenantResponse
from accounts.schemas.users import UserResponse
from taskflow.http.schema import In, Matches, OneLine, Out, example


class Registration(In):
    """A new tenant, and its first administrator."""

    model_config = example(
        tenant_name="Initech",
        subdomain="initech",
        full_name="Ira Example",
        email="ira@initech.example",
        **{"password": "a long enough passphrase"},
    )

    tenant_name: TenantName
    subdomain: Annotated[
        str,
        Matches(
            SUBDOMAIN,
            gettext_noop("have only lower-case letters, digits and “-”, and “-” only inside"),
        ),
    ] = Field(
        max_length=63,
        description="A DNS label, unique in the installation.",
        examples=["initech"],
    )
    full_name: Annotated[
        str,
        Field(min_length=1, max_length=100, description="The name of the administrator."),
        OneLine,
    ]
    email: UserEmail
    password: Password


class Credentials(In):
    """The e-mail and the password of a person, and the tenant."""

    model_config = example(**{"email": "ada@acme.example", "password": "taskflow-demo-2026"})

    email: str = Field(max_length=255, description="The e-mail, without regard to case.")
    password: Password
    tenant: str | None = Field(
        None,
        max_length=63,
        description="Subdomain of the tenant. When absent: that of X-Tenant or the host, or the"
        " default tenant.",
    )


class Login(Credentials):
    """The credentials of a person."""

    otp: OneTimeCode | None = Field(
        None,
        description="For a user with a second factor: the present code of the app, or a recovery"
        " code.",
    )


class SignedInResponse(Out):
    """A new token, and the user and tenant that it belongs to."""

    token: str = Field(description="Shown once. Send it as `Authorization: Bearer …`.")
    expires_at: datetime | None = Field(description="When the token expires, in UTC.")
    user: UserResponse
    tenant: TenantResponse


class EnrolmentConfirmation(Credentials):
    """The same credentials, and the first code of the app."""

    model_config = example(
        **{"email": "ada@acme.example", "password": "taskflow-demo-2026", "otp": "123 456"}
    )

    otp: OneTimeCode


class EnrolledResponse(SignedInResponse, RecoveryCodesResponse):
    """A new token, and the recovery codes of the new second factor."""
