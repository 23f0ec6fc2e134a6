"""Invitations of people to a tenant, and to projects in it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar, Self

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy

from accounts.models import User
from taskflow.db.creation_time import CreationTime
from taskflow.tenancy import TenantFK, TenantManager, TenantModel, TenantQuerySet

if TYPE_CHECKING:
    from taskflow.db.viewer import Viewer


class InvitationState(StrEnum):
    """The state of an invitation. Only a pending one can be accepted."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    REVOKED = "revoked"
    EXPIRED = "expired"


class InvitationQuerySet(TenantQuerySet["Invitation"]):
    def visible_to(self, viewer: Viewer) -> Self:
        """Return all invitations for an administrator whose token is not bound, else none."""
        return self.all() if viewer.is_staff and viewer.project_ids is None else self.none()


InvitationManager = TenantManager.from_queryset(InvitationQuerySet)


class Invitation(TenantModel):
    """An e-mail to which an administrator has sent a link. The link creates the user.

    The secret of the link is a MailToken whose subject_id is the id of the invitation.
    """

    email = models.EmailField(max_length=255)
    full_name = models.CharField(max_length=100, blank=True)
    is_staff = models.BooleanField("administrator", default=False)
    # [{"project_id": int, "role": a value of Role}]
    projects: Any = models.JSONField(default=list, blank=True)
    # Null for an operator, and for a user who was deleted.
    invited_by = TenantFK(User, models.SET_NULL, null=True, related_name="invitations_sent")
    user = TenantFK(User, models.SET_NULL, null=True, related_name="invitations")
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, editable=False)
    revoked_at = models.DateTimeField(null=True, editable=False)
    version = models.PositiveIntegerField(default=1, editable=False)
    created_at = CreationTime()
    updated_at = models.DateTimeField(auto_now=True)

    objects: ClassVar = InvitationManager()

    class Meta:
        base_manager_name = "objects"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "email"],
                condition=Q(accepted_at__isnull=True, revoked_at__isnull=True),
                name="invitation_email_key",  # a person has one link at a time
                violation_error_message=gettext_lazy(
                    "An invitation to this e-mail is open. Send it again, or revoke it."
                ),
            ),
            models.CheckConstraint(
                name="invitation_email_is_lower_case",
                condition=~Q(email="") & Q(email=models.functions.Lower("email")),
            ),
        ]
        indexes = [
            # those that a deleted user has sent or accepted
            models.Index(fields=["tenant", "invited_by"], name="invitation_by_sender"),
            models.Index(fields=["tenant", "user"], name="invitation_by_user"),
        ]

    def __str__(self) -> str:
        return self.email

    @property
    def state(self) -> InvitationState:
        if self.accepted_at:
            return InvitationState.ACCEPTED
        if self.revoked_at:
            return InvitationState.REVOKED
        is_expired = self.expires_at <= timezone.now()
        return InvitationState.EXPIRED if is_expired else InvitationState.PENDING
