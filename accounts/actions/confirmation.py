"""Ask for the password again before a user's password or e-mail is changed."""

from __future__ import annotations

from django.utils.translation import gettext_noop

from accounts.models import User, UserKind
from accounts.passwords import is_own_password
from taskflow.audit.actor import Actor
from taskflow.audit.models import Via
from taskflow.audit.recorder import lock
from taskflow.http.errors import Invalid

FIELD = "current_password"
MISSING = Invalid.field(
    FIELD,
    gettext_noop("Enter your current password: a password or an e-mail is changed."),
    "missing",
)
WRONG = Invalid.field(FIELD, gettext_noop("This is not your current password."), "wrong_password")
NO_PASSWORD = Invalid.field(
    FIELD,
    gettext_noop("You have no password yet, so you cannot change this. Ask an administrator."),
    "invalid",
)


def require_current_password(actor: Actor, password: str | None) -> None:
    """Raise Invalid unless `password` is the actor's own, and TooManyAttempts when a limit is
    reached. Commands need none.

    Whoever has got hold of a session or a token could otherwise take over the account: with another
    e-mail, a new password can be asked for. None means that no password was sent.
    """
    if actor.via is Via.COMMAND:
        return
    if not actor.user.has_usable_password():
        raise NO_PASSWORD.copy()
    if password is None:
        raise MISSING.copy()
    if actor.member is not None:  # an operator's row is not in this tenant
        lock(actor.member, "password")
    if not is_own_password(actor, password):
        raise WRONG.copy()


def is_credential_change(user: User, values: dict[str, object]) -> bool:
    """Whether the values set a password, or another e-mail of a person.

    An agent does not sign in, so that its e-mail is only an address.
    """
    has_new_email = values.get("email", user.email) != user.email
    return "password" in values or (user.kind == UserKind.HUMAN and has_new_email)
