"""Links that end the digests of a user without a sign-in, as RFC 8058 describes."""

from __future__ import annotations

from django.core import signing

from accounts.models import Tenant, User
from tasks.models import NotificationPreference
from tasks.models.notifications import Digest

SALT = "taskflow.notifications.unsubscribe"


def sign_unsubscription(tenant: Tenant, user: User) -> str:
    """Return the token of the link for this user. It permits nothing but ending the digests.

    It does not expire: a link in an old mail has to work, too.
    """
    return signing.dumps([tenant.pk, user.pk], salt=SALT)


def find_subscriber(tenant: Tenant, token: str) -> User | None:
    """Return the user of this tenant for whom the token was made; None for any other text.

    One query. Call it in the unit of work of the tenant.
    """
    try:
        tenant_id, user_id = signing.loads(token, salt=SALT)
    except (signing.BadSignature, ValueError, TypeError):
        return None
    if tenant_id != tenant.pk:
        return None
    user: User | None = User.objects.filter(pk=user_id).first()
    return user


def unsubscribe(user: User) -> None:
    """End the digests of the user. A repeated call changes nothing."""
    NotificationPreference.store(user, {"digest": Digest.OFF})
