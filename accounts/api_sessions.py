"""API operations for sessions: the sign-ins of a person that have not ended."""

from __future__ import annotations

from django.utils import timezone
from ninja import Query, Router, Status

from accounts.actions import sessions as actions
from accounts.auth import admin_auth
from accounts.models import Session
from accounts.queries import find_user
from accounts.rules import require_own_account
from accounts.schemas.sessions import SessionListResponse, is_current
from taskflow.audit.actor import ActorRequest
from taskflow.http.errors import NotFound
from taskflow.http.paging import PageContents, PageParams, paginate
from taskflow.http.schema import UserIdOrHandle

sessions = Router(tags=["Sessions"], auth=admin_auth)
user_sessions = Router(tags=["Sessions"], auth=admin_auth)


@sessions.get("", response=SessionListResponse)
def list_sessions(request: ActorRequest, page: Query[PageParams]) -> PageContents[Session]:
    """List your sessions, newest first: browsers in the admin, and programs that have signed in.

    Tokens that you have created for other purposes are in `GET /tokens`.
    """
    require_own_account(request.auth)
    live = Session.objects.all().live_of(request.auth.user, timezone.now())
    return paginate(live.select_related("token"), page, order=["-id"])


@sessions.delete("/others", response={204: None})
def end_other_sessions(request: ActorRequest) -> Status[None]:
    """End all your sessions but the one of this request. Their tokens are revoked."""
    require_own_account(request.auth)
    live = Session.objects.all().live_of(request.auth.user, timezone.now())
    current = next((session for session in live if is_current(session, request)), None)
    actions.end_other_sessions(request.auth, current)
    return Status(204, None)


@sessions.delete("/{id:session_id}", response={204: None})
def end_session(request: ActorRequest, session_id: int) -> Status[None]:
    """End one of your sessions. Its token is revoked."""
    require_own_account(request.auth)
    live = Session.objects.all().live_of(request.auth.user, timezone.now())
    session = live.filter(pk=session_id).first()
    if session is None:
        raise NotFound("You have no such session. It may have ended.")
    actions.end_session(request.auth, session)
    return Status(204, None)


@user_sessions.delete("/{user_id}/sessions", response={204: None})
def end_user_sessions(request: ActorRequest, user_id: UserIdOrHandle) -> Status[None]:
    """End all sessions of a user. For administrators. Their other tokens stay valid."""
    actions.end_sessions_of(request.auth, find_user(request.auth, user_id))
    return Status(204, None)
