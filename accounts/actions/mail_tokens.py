"""Create and use the secrets of links in mails."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_noop

from accounts import tokens
from accounts.models import MailPurpose, MailToken, Tenant, User
from accounts.models.mail_tokens import MailTokenQuerySet
from taskflow.http.errors import Invalid

LIFETIMES = {
    MailPurpose.PASSWORD_RESET: timedelta(hours=1),
    MailPurpose.EMAIL_CHANGE: timedelta(hours=24),
    MailPurpose.INVITATION: timedelta(days=7),
}
NOT_LIVE = Invalid.field(
    "token",
    gettext_noop(
        "This link does not work any more: it was used, it has expired, or a newer one was sent."
        " Ask for a new one."
    ),
    "link_not_valid",
)


def issue_mail_token(
    tenant: Tenant,
    purpose: MailPurpose,
    *,
    user: User | None = None,
    email: str = "",
    subject_id: int | None = None,
    lifetime: timedelta | None = None,
) -> str:
    """Store the secret of a new link, and return its text. None: the lifetime of its purpose.

    It replaces earlier ones of the same purpose for the same user or subject. Expired ones of the
    tenant are deleted too. Two statements, also without a user.
    """
    now, text = timezone.now(), tokens.make_token_text(tenant.pk, kind=tokens.MAIL_LINK)
    is_replaced = Q(purpose=purpose, user=user) & Q(user__isnull=False)
    is_replaced |= Q(purpose=purpose, subject_id=subject_id) & Q(subject_id__isnull=False)
    MailToken.objects.filter(is_replaced | Q(expires_at__lte=now)).delete_at_once()
    new = MailToken(
        purpose=purpose,
        digest=tokens.compute_digest(text),
        user=user,
        email=email,
        subject_id=subject_id,
        expires_at=now + (lifetime or LIFETIMES[purpose]),
    )
    MailToken.objects.bulk_create([new])
    return text


def find_mail_token(text: str, purpose: MailPurpose) -> MailToken | None:
    """Return the row of a link that would work now, or None. Changes nothing."""
    rows = MailToken.objects.live(tokens.compute_digest(text), purpose, timezone.now())
    row: MailToken | None = rows.select_related("user").first()
    return row


def use_mail_token(text: str, purpose: MailPurpose) -> MailToken:
    """Delete the row of a link, and return its last values. One statement.

    If the transaction is rolled back, the link still works. Raises Invalid for a link that does not
    work.
    """
    row: MailToken | None = MailToken.objects.all().delete_live(
        tokens.compute_digest(text), purpose, timezone.now()
    )
    if row is None:
        raise NOT_LIVE.copy()
    return row


def delete_mail_tokens_of_users(user_ids: Sequence[int]) -> int:
    """Delete every link that was sent to these users. Return how many there were. One statement."""
    return MailToken.objects.filter(user__in=user_ids).delete_at_once()


def delete_mail_tokens_of_subject(purpose: MailPurpose, subject_id: int) -> int:
    """Delete the links of this purpose for a subject. Return how many there were."""
    return MailToken.objects.filter(purpose=purpose, subject_id=subject_id).delete_at_once()


def find_expired_mail_tokens() -> MailTokenQuerySet:
    """Return the expired links."""
    rows: MailTokenQuerySet = MailToken.objects.filter(expires_at__lte=timezone.now())
    return rows


def delete_expired_mail_tokens() -> int:
    """Delete the tenant's expired links. Return how many there were."""
    return find_expired_mail_tokens().delete_at_once()
