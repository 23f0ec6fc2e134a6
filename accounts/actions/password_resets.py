"""Set a forgotten password by a link in a mail."""

from __future__ import annotations

from datetime import timedelta

from accounts import tokens
from accounts.actions.locking import lock_users
from accounts.actions.mail_tokens import NOT_LIVE, issue_mail_token, use_mail_token
from accounts.actions.mails import RESET_PAGE, build_password_reset_mail, require_mail
from accounts.actions.users import reset_password
from accounts.models import MailPurpose, Tenant, User, UserKind
from accounts.passwords import (
    AddressProof,
    ResetCheck,
    limit_password_resets,
    remember_proved_address,
)
from taskflow.audit.actor import Actor
from taskflow.audit.locks import LockMode
from taskflow.audit.models import Via
from taskflow.mail.links import build_link
from taskflow.mail.sending import send_after_commit
from taskflow.tenancy import inside

FIRST_LINK_LIFETIME = timedelta(hours=24)


def request_password_reset(
    tenant: Tenant, email: str, *, via: Via, address: str = "", request_id: str = ""
) -> None:
    """Send a link to the active person who has this e-mail.

    Nobody else gets a mail. The statements are the same in every case, and the mail is sent after
    the commit, so that the time does not reveal which e-mails exist. Raises Forbidden when this
    installation sends no mail, and TooManyAttempts when a limit is reached.
    """
    require_mail()
    limit_password_resets(ResetCheck(tenant, email, address, via, request_id))
    user = _find_person(email)
    token = issue_mail_token(tenant, MailPurpose.PASSWORD_RESET, user=user)
    if user is not None:
        send_after_commit(build_password_reset_mail(tenant, user, token))


def issue_first_password_link(actor: Actor) -> str:
    """Return the URL of the page on which a new user sets a password. It works once, for a day.

    Whoever has it can sign in as the user, so show it to nobody else.
    """
    with inside(actor.tenant):
        token = issue_mail_token(
            actor.tenant,
            MailPurpose.PASSWORD_RESET,
            user=actor.user,
            lifetime=FIRST_LINK_LIFETIME,
        )
    return build_link(actor.tenant.subdomain, RESET_PAGE, {"token": token})


def complete_password_reset(
    tenant: Tenant,
    token: str,
    password: str,
    *,
    via: Via,
    address: str = "",
    request_id: str = "",
) -> Actor:
    """Set the password of the user to whom the link was sent, who is returned as the actor.

    It ends all sessions and tokens of the user. Raises Invalid for a link that does not work and
    for a weak password; the link still works then.
    """
    if tokens.read_tenant_id(token, tokens.MAIL_LINK) != tenant.pk:
        raise NOT_LIVE.copy()
    user = use_mail_token(token, MailPurpose.PASSWORD_RESET).user
    if user is None:
        raise NOT_LIVE.copy()
    lock_users([user], LockMode.UPDATE)
    if not user.is_active:
        raise NOT_LIVE.copy()
    remember_proved_address(AddressProof(tenant, user.email or "", address, via, request_id))
    actor = Actor(user, tenant, via=via, request_id=request_id, address=address)
    reset_password(actor, password)
    return actor


def _find_person(email: str) -> User | None:
    """Return the active person with this e-mail, or None. One query.

    Two addresses can fold alike, so that the one that was typed is preferred.
    """
    people = list(User.objects.with_email(email).filter(is_active=True, kind=UserKind.HUMAN))
    return max(people, key=lambda user: user.email == email.lower(), default=None)
