"""Second factors: bodies and responses."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from accounts.schemas.fields import Password
from taskflow.http.schema import In, OneLine, Out, example

OneTimeCode = Annotated[
    str,
    Field(
        min_length=1,
        max_length=40,
        description="The present code of the app. Spaces and dashes do not count.",
        examples=["123 456"],
    ),
    OneLine,
]


class SecondFactorResponse(Out):
    """The state of your second factor."""

    is_enabled: bool = Field(description="Whether signing in needs a code.")
    is_required: bool = Field(description="Whether your tenant requires it of you.")
    enabled_at: datetime | None = Field(description="Since when, in UTC; null if it is not.")
    recovery_codes_left: int = Field(description="How many recovery codes are not used yet.")


class CurrentPassword(In):
    """Your password, which this operation asks for again."""

    model_config = example(**{"current_password": "taskflow-demo-2026"})

    current_password: Password


class SecondFactorConfirmation(In):
    """The first code of a new second factor."""

    model_config = example(otp="123 456")

    otp: OneTimeCode


class SecondFactorEnrolment(Out):
    """What an authenticator app needs. It is shown once."""

    secret: str = Field(description="The secret in base 32, to type into the app.")
    otpauth_uri: str = Field(description="The same as a URI, to show as a QR code.")


class RecoveryCodesResponse(Out):
    """New recovery codes. They are shown once."""

    recovery_codes: list[str] = Field(
        description="Ten codes. Each replaces a code of the app, once. Keep them safe."
    )
