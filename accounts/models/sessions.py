"""Sessions: the sign-ins of people that have not ended."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models import Q

from accounts.models.tokens import ApiToken
from accounts.models.users import User
from taskflow.db.creation_time import CreationTime
from taskflow.tenancy import TenantFK, TenantManager, TenantModel, TenantQuerySet

USE_INTERVAL = timedelta(minutes=5)  # last_used_at is at most so old while a browser is used
ADDRESS_LENGTH, USER_AGENT_LENGTH = 45, 200  # characters


class SessionQuerySet(TenantQuerySet["Session"]):
    def live_of(self, user: User, now: datetime) -> Self:
        """Return the user's sessions that have not ended, without those that nothing can use."""
        browser = Q(
            token__isnull=True,
            credentials=describe_credentials(user),
            last_used_at__gt=now - settings.SESSION_IDLE,
        )
        token = Q(token__revoked_at__isnull=True, token__expires_at__gt=now)
        return self.filter(user=user, ended_at__isnull=True, expires_at__gt=now).filter(
            browser | token
        )

    def start(self, session: Session) -> Session:
        """Store a new session. The event of the sign-in is recorded by the caller."""
        self.bulk_create([session])
        return session

    def record_use(self, session: Session, now: datetime) -> None:
        """Store when the session was last used, unless another request stores it now."""
        free = self.filter(pk=session.pk).select_for_update(skip_locked=True)
        self.filter(pk__in=free.values("pk")).update(last_used_at=now)

    def renew_credentials(self, session: Session, user: User) -> None:
        """Let the session last although the user's password has changed."""
        self.filter(pk=session.pk).update(credentials=describe_credentials(user))

    def forget(self, user: User) -> None:
        """Delete all sessions of the user, with their addresses and user agents."""
        self.filter(user=user)._raw_delete(self.db)

    def ended(self, before: datetime) -> Self:
        """Return the sessions that cannot have been used since then."""
        return self.filter(expires_at__lt=before)

    def forget_ended(self, before: datetime) -> int:
        """Delete the sessions that cannot have been used since then. Return how many."""
        return self.ended(before)._raw_delete(self.db) or 0


class Session(TenantModel):
    """A sign-in of a person: of a browser in the admin, or of a program that got a token.

    That of a program ends with its token. That of a browser ends after a time without use, at the
    latest at `expires_at`, and when the password changes or the user is deactivated.
    """

    unrecorded = frozenset({"credentials", "address", "user_agent", "last_used_at"})

    user = TenantFK(User, models.CASCADE, related_name="sessions")
    token = TenantFK(ApiToken, models.CASCADE, null=True, related_name="sessions")  # of a program
    credentials = models.CharField(max_length=64, blank=True, editable=False)  # of a browser
    address = models.CharField(max_length=ADDRESS_LENGTH, blank=True, editable=False)
    user_agent = models.CharField(max_length=USER_AGENT_LENGTH, blank=True, editable=False)
    last_used_at = models.DateTimeField(editable=False)  # of a browser, to five minutes
    expires_at = models.DateTimeField(editable=False)
    ended_at = models.DateTimeField(null=True, editable=False)
    version = models.PositiveIntegerField(default=1, editable=False)
    created_at = CreationTime()
    updated_at = models.DateTimeField(auto_now=True)

    objects: ClassVar = TenantManager.from_queryset(SessionQuerySet)()

    class Meta:
        base_manager_name = "objects"
        indexes = [
            models.Index(fields=["tenant", "user"], name="session_user"),  # a user's sessions
            models.Index(fields=["tenant", "token"], name="session_token"),  # deleting a token
        ]

    def __str__(self) -> str:
        return f"session {self.pk}"

    @property
    def is_browser(self) -> bool:
        return self.token_id is None

    def is_live(self, user: User, now: datetime) -> bool:
        """Return whether a browser may use the session now. Needs no query."""
        return (
            self.ended_at is None
            and self.expires_at > now
            and self.last_used_at > now - settings.SESSION_IDLE
            and self.credentials == describe_credentials(user)
        )


def describe_credentials(user: User) -> str:
    """Return a digest that changes with the password, and when the user's sessions are ended."""
    return hashlib.sha256(user.get_session_auth_hash().encode()).hexdigest()
