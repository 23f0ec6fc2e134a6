"""Notices by mail to the owner of an account, of changes that somebody else might have made.

They are sent after the commit, and to nobody if this installation sends no mail. They contain no
secret.
"""

from __future__ import annotations

from django.utils.functional import Promise
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from accounts.actions.mails import build_notice
from accounts.models import ApiToken, Tenant, User, UserKind
from taskflow.mail.sending import send_after_commit


def notify(tenant: Tenant, user: User, sentence: str | Promise, *, to: str | None = None) -> None:
    """Send a notice to a person, by default to the e-mail of the user. No statement.

    Agents and deactivated users get none. `sentence` says what has happened.
    """
    email = to or user.email
    if email and user.is_active and user.kind == UserKind.HUMAN:
        send_after_commit(build_notice(tenant, user, email, sentence))


def notify_of_password(tenant: Tenant, user: User) -> None:
    notify(tenant, user, _("Your password was changed."))


def notify_of_token(tenant: Tenant, token: ApiToken) -> None:
    """Send a notice of a token that a person has created for itself."""
    expiry = f"{token.expires_at:%Y-%m-%d}" if token.expires_at else _("never")
    notify(
        tenant,
        token.user,
        format_lazy(
            _(
                "A token of scope {scope} with the name “{name}” was created for you. It expires:"
                " {expiry}."
            ),
            scope=token.scope,
            name=token.name,
            expiry=expiry,
        ),
    )


def notify_of_sign_in(tenant: Tenant, user: User, address: str) -> None:
    """Send a notice of a sign-in from an address from which the user has not signed in lately."""
    text = _("Somebody has signed in to your account from a new address: {address}.")
    sentence = format_lazy(text, address=address)
    notify(tenant, user, sentence)


def notify_of_email_request(tenant: Tenant, user: User, new_email: str) -> None:
    notify(
        tenant,
        user,
        format_lazy(
            _(
                "A change of your e-mail to {new_email} was requested. It takes effect when the"
                " link that was sent to that address is followed."
            ),
            new_email=new_email,
        ),
    )


def notify_of_email_change(tenant: Tenant, user: User, old_email: str | None) -> None:
    """Send a notice to the old address, if there was one."""
    if old_email:
        text = _("Your e-mail was changed from {old_email} to {email}.")
        sentence = format_lazy(text, old_email=old_email, email=user.email)
        notify(tenant, user, sentence, to=old_email)
