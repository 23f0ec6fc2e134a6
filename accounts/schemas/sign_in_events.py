"""One's own sign-ins, as they are listed."""

from __future__ import annotations

from pydantic import Field

from taskflow.audit.models import Via
from taskflow.http.paging import ListResponse
from taskflow.http.schema import CreatedAt, Out, RowId


class SignInResponse(Out):
    """A sign-in to your account, or an attempt at one."""

    id: RowId
    verb: str = Field(
        description="`signed_in`; `password_refused`: the password was wrong; `password_limited` or"
        " `code_limited`: too many passwords or codes were wrong; `password_reset`.",
        examples=["signed_in"],
    )
    address: str | None = Field(
        description="The address of the client. Null if it was erased or not recorded.",
        examples=["203.0.113.7"],
    )
    via: Via
    request_id: str = Field(description="The X-Request-Id of the request.")
    created_at: CreatedAt


class SignInListResponse(ListResponse[SignInResponse]):
    """A page of a list of sign-ins."""
