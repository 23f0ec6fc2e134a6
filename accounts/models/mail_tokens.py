"""The secrets of links in mails, which work once."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar, Self

from django.db import models
from django.db.models import Q

from accounts.models.users import User
from taskflow.tenancy import TenantFK, TenantManager, TenantModel, TenantQuerySet, current_tenant_id

# One statement, so that of two requests with the same link only one gets the row.
DELETE_LIVE = """
DELETE FROM "accounts_mailtoken"
WHERE "tenant_id" = %s AND "digest" = %s AND "purpose" = %s AND "expires_at" > %s
RETURNING "id", "tenant_id", "purpose", "user_id", "email", "subject_id", "expires_at"
"""


class MailPurpose(models.TextChoices):
    """What the link in a mail is for. A link for one purpose does not work for another."""

    PASSWORD_RESET = "password_reset"  # noqa: S105 - not a password
    INVITATION = "invitation"
    EMAIL_CHANGE = "email_change"


class MailTokenQuerySet(TenantQuerySet["MailToken"]):
    def live(self, digest: str, purpose: MailPurpose, now: datetime) -> Self:
        """Return the row with this digest, if it is for this purpose and has not expired."""
        return self.filter(digest=digest, purpose=purpose, expires_at__gt=now)

    def delete_live(self, digest: str, purpose: MailPurpose, now: datetime) -> MailToken | None:
        """Delete the row that live() would return, and return its last values. One statement."""
        values = (current_tenant_id(), digest, purpose.value, now)
        rows: list[MailToken] = list(self.raw(DELETE_LIVE, values))
        return rows[0] if rows else None

    def delete_at_once(self) -> int:
        """Delete the rows with one statement, and return how many. Nothing refers to them."""
        return self._raw_delete(self.db) or 0


MailTokenManager = TenantManager.from_queryset(MailTokenQuerySet)


class MailToken(TenantModel):
    """The secret of a link in a mail. Only the SHA-256 of its text is stored.

    It has no events: what the link does is recorded. A password reset for an e-mail that no user
    has also stores a row, which no link belongs to, so that both cases take the same time.
    """

    purpose = models.CharField(max_length=20, choices=MailPurpose)
    digest = models.CharField(max_length=64)
    user = TenantFK(User, models.CASCADE, null=True, related_name="mail_tokens")
    email = models.CharField(max_length=255, blank=True)  # the new address of an e-mail change
    # The id of the invitation. Without a foreign key: this app does not know the table.
    subject_id = models.BigIntegerField(null=True)
    expires_at = models.DateTimeField()
    created_at = models.DateTimeField(auto_now_add=True)

    objects: ClassVar = MailTokenManager()

    class Meta:
        base_manager_name = "objects"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "digest"],
                name="mail_token_digest_key",  # a link is looked up by this
            ),
            models.CheckConstraint(
                name="mail_token_purpose_is_known", condition=Q(purpose__in=MailPurpose.values)
            ),
        ]
        indexes = [
            # those of a user, which a newer one replaces, and which are deleted with the user
            models.Index(fields=["tenant", "user"], name="mail_token_user"),
            # expired ones, which are deleted
            models.Index(fields=["tenant", "expires_at"], name="mail_token_age"),
        ]

    def __str__(self) -> str:
        return f"{self.purpose} until {self.expires_at:%Y-%m-%d %H:%M} UTC"
