"""Sessions: responses."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from accounts.models import Session
from taskflow.audit.actor import ActorRequest
from taskflow.http.paging import ListResponse
from taskflow.http.schema import CreatedAt, Out, RowId


class SessionKind(StrEnum):
    """Who has signed in: a browser in the admin, or a program that has got a token."""

    BROWSER = "browser"
    TOKEN = "token"  # noqa: S105 - not a secret


class SessionResponse(Out):
    """A sign-in that has not ended."""

    id: RowId
    kind: SessionKind = Field(
        description="`browser`: in the admin. `token`: a program that has called `/auth/login`."
    )
    is_current: bool = Field(description="Whether this request is sent in the session.")
    address: str = Field(description="The address of the client that signed in; may be empty.")
    user_agent: str = Field(description="How that client described itself; may be empty.")
    last_used_at: datetime = Field(
        description="In UTC; to 5 minutes for a browser, to an hour for a token."
    )
    expires_at: datetime = Field(description="When it ends at the latest, in UTC.")
    created_at: CreatedAt

    @staticmethod
    def resolve_kind(session: Session) -> SessionKind:
        return SessionKind.BROWSER if session.is_browser else SessionKind.TOKEN

    @staticmethod
    def resolve_is_current(session: Session, context: Mapping[str, Any]) -> bool:
        return is_current(session, context["request"])

    @staticmethod
    def resolve_last_used_at(session: Session) -> datetime:
        used = session.token.last_used_at if session.token else None
        return used or session.last_used_at


class SessionListResponse(ListResponse[SessionResponse]):
    """A page of the list of sessions."""


def is_current(session: Session, request: ActorRequest) -> bool:
    """Return whether the request was sent in this session."""
    token = request.auth.token
    if token is not None:
        return bool(session.token_id == token.pk)
    browser = request.browser_session
    return browser is not None and browser.pk == session.pk
