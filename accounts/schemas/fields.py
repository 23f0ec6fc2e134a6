"""The types of values that several schemas have."""

from __future__ import annotations

from typing import Annotated

from django.utils.translation import gettext, gettext_noop
from pydantic import AfterValidator, Field, Secret, StrictBool, StringConstraints

from accounts.models import HANDLE, RESERVED_HANDLES
from taskflow.http.schema import Email, Id, Matches, OneLine


def _check_not_reserved(handle: str) -> str:
    if handle in RESERVED_HANDLES:
        message = gettext("must not be %(first)s or %(second)s, which are reserved")
        first, second = RESERVED_HANDLES
        raise ValueError(message % {"first": first, "second": second})
    return handle


Handle = Annotated[
    str,
    AfterValidator(_check_not_reserved),
    Matches(
        HANDLE,
        gettext_noop(
            "have only lower-case letters, digits, “.”, “_” and “-”, and begin with a letter or"
            " digit"
        ),
    ),
    Field(
        max_length=50,
        description="The short name, unique in the tenant. People write it as @ada.",
        examples=["ada"],
    ),
]
FullName = Annotated[
    str, Field(max_length=100, description="The name, as people write it."), OneLine
]
UserEmail = Annotated[
    Email,
    Field(
        description="The e-mail, unique in the tenant without regard to case.",
        examples=["ada@example.com"],
    ),
]
TenantName = Annotated[str, Field(min_length=1, max_length=200, description="The name."), OneLine]
IsStaff = Annotated[StrictBool, Field(description="Whether the user administers the tenant.")]
ResponsibleId = Annotated[
    Id,
    Field(
        description="Only for an agent: the id of the user who is responsible for it, in place of"
        " `responsible`."
    ),
]
Password = Annotated[
    # White space is kept: the sign-in page of the admin does not strip it either.
    Secret[Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=False)]],
    Field(
        description="A password. Spaces at its ends count.",
        json_schema_extra={"format": "password", "writeOnly": True},
    ),
]
CurrentPassword = Annotated[
    Password, Field(description="Your own password. A new password or e-mail needs it.")
]
RevokeAgentTokens = Annotated[
    StrictBool,
    Field(
        description="With a new password or e-mail: also revoke the tokens of the user's agents."
    ),
]
