"""The texts of mails to people. Every mail of TaskFlow is written here.

They contain no passwords and no bearer tokens. A link that works once is in the mail that it is
for, and in no other.
"""

from __future__ import annotations

from collections.abc import Sequence

from django.conf import settings
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from accounts.models import Tenant, User
from taskflow.audit.actor import Actor
from taskflow.http.errors import Forbidden
from taskflow.mail.links import build_link
from taskflow.mail.sending import Mail, in_mail_language

CONFIRMATION_PAGE = "/admin/email-confirmation/"
INVITATION_PAGE = "/admin/invitation/"
REQUEST_PAGE = "/admin/password-reset/"
RESET_PAGE = "/admin/password-reset/completion/"


def require_mail() -> None:
    """Raise Forbidden when this installation sends no mail."""
    if not settings.SENDS_MAIL:
        raise Forbidden(
            gettext_noop(
                "This installation sends no e-mail. Ask its operator to set TASKFLOW_EMAIL_URL."
            ),
            code="email_off",
        )


@in_mail_language
def build_password_reset_mail(tenant: Tenant, user: User, token: str) -> Mail:
    """Return the mail with which a user sets a new password."""
    return _build(
        "password reset",
        tenant,
        str(user.email),
        _("Set a new password for %(tenant)s") % {"tenant": tenant.name},
        [
            _greet(user.get_full_name()),
            _(
                "A new password was requested for your account %(email)s in %(tenant)s. To set one,"
                " open this page within one hour:"
            )
            % {"email": user.email, "tenant": tenant.name},
            build_link(tenant.subdomain, RESET_PAGE, {"token": token}),
            _(
                "The link works once. If you did not request it, ignore this mail: your password"
                " stays as it is."
            ),
        ],
    )


@in_mail_language
def build_invitation_mail(actor: Actor, email: str, full_name: str, token: str) -> Mail:
    """Return the mail with which a person becomes a user of the actor's tenant."""
    tenant = actor.tenant
    return _build(
        "invitation",
        tenant,
        email,
        _("Join %(tenant)s on TaskFlow") % {"tenant": tenant.name},
        [
            _greet(full_name or email),
            _(
                "%(name)s invites you to %(tenant)s on TaskFlow. To accept, open this page within 7"
                " days:"
            )
            % {"name": actor.user.get_full_name(), "tenant": tenant.name},
            build_link(tenant.subdomain, INVITATION_PAGE, {"token": token}),
            _("The link works once. If you do not know who invites you, ignore this mail."),
        ],
    )


@in_mail_language
def build_email_change_mail(tenant: Tenant, user: User, email: str, token: str) -> Mail:
    """Return the mail to a new address, with which its owner confirms it."""
    return _build(
        "e-mail change",
        tenant,
        email,
        _("Confirm your e-mail for %(tenant)s") % {"tenant": tenant.name},
        [
            _greet(user.get_full_name()),
            _(
                "You want to sign in to %(tenant)s with this e-mail instead of %(email)s. To"
                " confirm it, open this page within 24 hours:"
            )
            % {"tenant": tenant.name, "email": user.email},
            build_link(tenant.subdomain, CONFIRMATION_PAGE, {"token": token}),
            _(
                "The link works once. Until then the old e-mail stays valid. If you did not request"
                " this, ignore this mail."
            ),
        ],
    )


@in_mail_language
def build_notice(tenant: Tenant, user: User, to: str, sentence: str | Promise) -> Mail:
    """Return the mail that tells a user what was changed in the account. It has no secret."""
    return _build(
        "notice",
        tenant,
        to,
        _("Notice about your account in %(tenant)s") % {"tenant": tenant.name},
        [
            _greet(user.get_full_name()),
            _("%(sentence)s It happened at %(time)s UTC.")
            % {"sentence": sentence, "time": f"{timezone.now():%Y-%m-%d %H:%M}"},
            _("If it was not you, set a new password here, and inform an administrator:"),
            build_link(tenant.subdomain, REQUEST_PAGE),
        ],
    )


def _greet(name: str) -> str:
    return _("Hello %(name)s,") % {"name": name}


def _build(kind: str, tenant: Tenant, to: str, subject: str, paragraphs: Sequence[str]) -> Mail:
    """Return a mail. `kind` is its purpose in the log."""
    signature = f"--\nTaskFlow, {_on_one_line(tenant.name)}"
    text = "\n\n".join([*paragraphs, signature]) + "\n"
    return Mail(kind, to, _on_one_line(subject), text)


def _on_one_line(text: str) -> str:
    """Return the text without line breaks, which would begin another header of a mail."""
    return " ".join(text.split())
