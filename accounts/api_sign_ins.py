"""The API operation that lists the sign-ins to one's own account."""

from __future__ import annotations

from ninja import Query, Router

from accounts.auth import admin_auth
from accounts.rules import require_own_account
from accounts.schemas.sign_in_events import SignInListResponse
from taskflow.audit.actor import ActorRequest
from taskflow.audit.models import Event
from taskflow.http.paging import PageContents, PageParams, paginate

own_sign_ins = Router(tags=["Signing in"], auth=admin_auth)
VERBS = ("signed_in", "password_refused", "password_limited", "code_limited", "password_reset")


@own_sign_ins.get("", response=SignInListResponse)
def list_sign_ins(request: ActorRequest, page: Query[PageParams]) -> PageContents[Event]:
    """List the sign-ins to your account and the attempts at one, newest first.

    Administrators find those of all users among the events of the admin. Returns 403 for an agent,
    which has no password, and for a token that is bound to projects.
    """
    actor = request.auth
    require_own_account(actor)
    events = Event.objects.filter(subject_type="user", subject_id=actor.user.pk, verb__in=VERBS)
    return paginate(events, page, order=["-id"])
