"""Change one's own e-mail: the new one takes effect when the link sent to it is followed."""

from __future__ import annotations

from django.utils.translation import gettext_noop

from accounts import tokens
from accounts.actions.locking import lock_users
from accounts.actions.mail_tokens import (
    NOT_LIVE,
    delete_mail_tokens_of_users,
    issue_mail_token,
    use_mail_token,
)
from accounts.actions.mails import build_email_change_mail
from accounts.actions.notices import notify_of_email_change, notify_of_email_request
from accounts.actions.tokens import revoke_all
from accounts.mail_limits import limit_email_changes
from accounts.models import MailPurpose, Tenant, User
from taskflow.audit.actor import Actor
from taskflow.audit.locks import LockMode
from taskflow.audit.models import Via
from taskflow.audit.recorder import change
from taskflow.http.errors import Conflict
from taskflow.mail.sending import send_after_commit


def request_email_change(actor: Actor, email: str) -> None:
    """Send a link to the new address, and a notice to the present one.

    The present one signs in until the link is followed. A newer link replaces an earlier one.
    Raises Conflict when another user has the e-mail, and TooManyAttempts when a limit is reached.
    """
    user, tenant = actor.user, actor.tenant
    limit_email_changes(actor, email)
    if User.objects.filter(email=email).exclude(pk=user.pk).exists():
        raise Conflict(gettext_noop("This e-mail is taken."), code="taken")
    token = issue_mail_token(tenant, MailPurpose.EMAIL_CHANGE, user=user, email=email)
    send_after_commit(build_email_change_mail(tenant, user, email, token))
    notify_of_email_request(tenant, user, email)


def complete_email_change(tenant: Tenant, token: str, *, via: Via, request_id: str = "") -> Actor:
    """Set the e-mail to which the link was sent. Return the user as the actor.

    It ends all sessions and tokens of the user, and every other link that was sent to the user:
    they may be with the owner of the old address. The old address gets a notice. Raises Invalid for
    a link that does not work, and Conflict when another user has got the e-mail since.
    """
    if tokens.read_tenant_id(token, tokens.MAIL_LINK) != tenant.pk:
        raise NOT_LIVE.copy()
    row = use_mail_token(token, MailPurpose.EMAIL_CHANGE)
    user = row.user
    if user is None:
        raise NOT_LIVE.copy()
    lock_users([user], LockMode.UPDATE)
    if not user.is_active:
        raise NOT_LIVE.copy()
    actor, old_email = Actor(user, tenant, via=via, request_id=request_id), user.email
    change(actor, user, email=row.email)
    revoke_all(actor, user)
    User.objects.filter(pk=user.pk).end_sessions()
    delete_mail_tokens_of_users([user.pk])
    notify_of_email_change(tenant, user, old_email)
    return actor
