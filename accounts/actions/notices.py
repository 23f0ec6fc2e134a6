"""Notices by mail to the owner of an account, of changes that somebody else might have made.

They are sent after the commit, and to nobody if this installation sends no mail. They contain no
secret.
"""

from __future__ import annotations

from accounts.actions.mails import build_notice
from accounts.models import ApiToken, Tenant, User, UserKind
from taskflow.mail.sending import send_after_commit


def notify(tenant: Tenant, user: User, sentence: str, *, to: str | None = None) -> None:
    """Send a notice to a person, by default to the e-mail of the user. No statement.

    Agents and deactivated users get none. `sentence` says what has happened.
    """
    email = to or user.email
    if email and user.is_active and user.kind == UserKind.HUMAN:
        send_after_commit(build_notice(tenant, user, email, sentence))


def notify_of_password(tenant: Tenant, user: User) -> None:
    notify(tenant, user, "Your password was changed.")


def notify_of_token(tenant: Tenant, token: ApiToken) -> None:
    """Send a notice of a token that a person has created for itself."""
    expiry = f"{token.expires_at:%Y-%m-%d}" if token.expires_at else "never"
    notify(
        tenant,
        token.user,
        f"A token of scope {token.scope} with the name “{token.name}” was created for you. It"
        f" expires: {expiry}.",
    )


def notify_of_sign_in(tenant: Tenant, user: User, address: str) -> None:
    """Send a notice of a sign-in from an address from which the user has not signed in lately."""
    sentence = f"Somebody has signed in to your account from a new address: {address}."
    notify(tenant, user, sentence)


def notify_of_email_request(tenant: Tenant, user: User, new_email: str) -> None:
    notify(
        tenant,
        user,
        f"A change of your e-mail to {new_email} was requested. It takes effect when the link that"
        " was sent to that address is followed.",
    )


def notify_of_email_change(tenant: Tenant, user: User, old_email: str | None) -> None:
    """Send a notice to the old address, if there was one."""
    if old_email:
        sentence = f"Your e-mail was changed from {old_email} to {user.email}."
        notify(tenant, user, sentence, to=old_email)
