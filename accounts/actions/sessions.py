"""Actions on sessions: start one with a sign-in, and end them."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from accounts.actions.locking import lock_users
from accounts.models import ApiToken, Session, User
from accounts.models.sessions import USER_AGENT_LENGTH, describe_credentials
from accounts.rules import require_own_account, require_staff
from taskflow.audit.actor import Actor
from taskflow.audit.recorder import change_all
from taskflow.audit.verbs import register_event_verb
from taskflow.db.text import is_one_line

SESSION_RETENTION = timedelta(days=30)  # for which ended sessions are stored
register_event_verb("session", "ended", "ended a session")


def start_session(actor: Actor, *, user_agent: str, token: ApiToken | None = None) -> Session:
    """Store the sign-in of the actor: of a browser, or of the program that gets the token."""
    now = timezone.now()
    expires_at = now + settings.SESSION_LIFETIME
    session = Session(
        user=actor.user,
        token=token,
        credentials="" if token else describe_credentials(actor.user),
        address=actor.address,
        user_agent=shorten_user_agent(user_agent),
        last_used_at=now,
        expires_at=(token.expires_at or expires_at) if token else expires_at,
    )
    started: Session = Session.objects.all().start(session)
    return started


def shorten_user_agent(text: str) -> str:
    """Return the part of a User-Agent that is stored: one line of text, or nothing."""
    shown = text[:USER_AGENT_LENGTH]
    return shown if is_one_line(shown) and shown.isprintable() else ""


def end_session(actor: Actor, session: Session) -> None:
    """End one session of the actor now. The token of a program is revoked."""
    require_own_account(actor)
    _end(actor, actor.user, Session.objects.filter(pk=session.pk))


def end_other_sessions(actor: Actor, current: Session | None) -> int:
    """End all sessions of the actor but the current one. Return how many have ended."""
    require_own_account(actor)
    live = Session.objects.all().live_of(actor.user, timezone.now())
    return _end(actor, actor.user, live.exclude(pk=current.pk) if current else live)


def end_sessions_of(actor: Actor, user: User) -> int:
    """End all sessions of a user, for administrators. Return how many have ended."""
    require_staff(actor)
    return _end(actor, user, Session.objects.all().live_of(user, timezone.now()))


def _end(actor: Actor, user: User, sessions: QuerySet[Session]) -> int:
    lock_users([user])
    now, rows = timezone.now(), list(sessions)
    _revoke_tokens(actor, rows, now)
    return change_all(
        actor, Session.objects.filter(pk__in=[row.pk for row in rows]), "ended", ended_at=now
    )


def _revoke_tokens(actor: Actor, sessions: list[Session], now: datetime) -> None:
    ids = [session.token_id for session in sessions if session.token_id is not None]
    if ids:
        change_all(actor, ApiToken.objects.filter(pk__in=ids).live(now), "revoked", revoked_at=now)
