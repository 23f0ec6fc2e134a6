"""Keep the session of a request whose user's sessions are ended."""

from __future__ import annotations

from django.contrib.auth import HASH_SESSION_KEY

from accounts.models import Session, User
from taskflow.audit.actor import ActorRequest


def keep_session(request: ActorRequest) -> None:
    """Let the session of the request stay valid after its user has changed password or e-mail.

    All other sessions of the user have ended. Nothing is done for a request with a token, or if
    neither has changed. Costs a query, and three more if it has.
    """
    if request.actor.token is not None:
        return
    user = request.actor.user
    stored = User.objects.filter(pk=user.pk).first()  # None for an operator
    if stored is None:
        return
    current = stored.get_session_auth_hash()
    if request.session.get(HASH_SESSION_KEY) not in (None, current):
        request.session[HASH_SESSION_KEY] = current
        request.session.save()
        if isinstance(request.browser_session, Session):
            Session.objects.all().renew_credentials(request.browser_session, stored)
