"""API tokens."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, ClassVar, Self

from django.db import models
from django.db.models import Q
from django.utils import timezone

from accounts.models.users import User
from taskflow.audit.actor import TokenScope
from taskflow.db.statements import Parameter
from taskflow.tenancy import TenantFK, TenantManager, TenantModel, TenantQuerySet

if TYPE_CHECKING:
    from taskflow.db.viewer import Viewer


class ApiTokenQuerySet(TenantQuerySet["ApiToken"]):
    def visible_to(self, viewer: Viewer) -> Self:
        """Return the actor's own tokens and those of the actor's agents; for staff, all tokens.

        A token bound to projects shows only itself.
        """
        if viewer.project_ids is not None:
            return self.filter(pk=viewer.token_id)
        if viewer.is_staff:
            return self.all()
        return self.filter(Q(user=viewer.user_id) | Q(user__responsible=viewer.user_id))

    def live(self, now: datetime | Parameter) -> Self:
        """Return the tokens that are neither revoked nor expired at `now`."""
        return self.filter(revoked_at__isnull=True).filter(
            Q(expires_at__isnull=True) | Q(expires_at__gt=now)
        )


ApiTokenManager = TenantManager.from_queryset(ApiTokenQuerySet)


class ApiToken(TenantModel):
    """A bearer token. Only the SHA-256 of its text is stored, so the text is shown once."""

    unrecorded = frozenset({"digest", "last_used_at"})
    records_address = True

    user = TenantFK(User, models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=16, editable=False)  # shown in lists; not a secret
    digest = models.CharField(max_length=64, editable=False)
    scope = models.CharField(max_length=5, choices=TokenScope, default=TokenScope.WRITE)
    project_ids = models.JSONField(null=True, blank=True)  # [int], or null for all projects
    # The user who created it for an agent and knows its text; null if its user did, or an operator.
    # It works while this user is active, and shows only projects that this user can see.
    issued_by = TenantFK(
        User, models.PROTECT, null=True, blank=True, editable=False, related_name="issued_tokens"
    )
    # Created by a sign-in. Tokens that it creates may expire later than it, since the user could
    # create them with the password anyway.
    is_sign_in = models.BooleanField(default=False, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)  # to the hour
    version = models.PositiveIntegerField(default=1, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects: ClassVar = ApiTokenManager()

    class Meta:
        base_manager_name = "objects"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "digest"],
                name="token_digest_key",  # every request looks its token up by this
            ),
            models.CheckConstraint(
                name="token_scope_is_known", condition=Q(scope__in=TokenScope.values)
            ),
        ]
        indexes = [
            # a user's tokens, which are revoked when the user is deactivated
            models.Index(fields=["tenant", "user"], name="token_user"),
            # the tokens that a user has created for agents, which are revoked with the user's own
            models.Index(fields=["tenant", "issued_by"], name="token_issued_by"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @property
    def is_live(self) -> bool:
        return self.revoked_at is None and (
            self.expires_at is None or self.expires_at > timezone.now()
        )
