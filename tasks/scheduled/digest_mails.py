"""The text of a digest, as plain text and as HTML."""

from __future__ import annotations

from collections.abc import Sequence

from django.conf import settings
from django.template.loader import render_to_string
from django.utils.translation import gettext, ngettext

from accounts.models import Tenant, User
from taskflow.mail.links import build_link
from taskflow.mail.sending import Mail, in_mail_language
from tasks.actions.unsubscribing import sign_unsubscription
from tasks.models import Notification
from tasks.queries.notifications import describe_notification

INBOX_PAGE = "/admin/inbox/"
UNSUBSCRIBE_PAGE = "/admin/unsubscribe/"
MAX_SUBJECT = 100  # characters of the name of the tenant


@in_mail_language
def build_digest_mail(
    tenant: Tenant, user: User, notifications: Sequence[Notification], count: int
) -> Mail:
    """Return the mail with these notifications, the newest of `count`. No query."""
    unsubscribe_link = build_link(
        tenant.subdomain, UNSUBSCRIBE_PAGE, {"token": sign_unsubscription(tenant, user)}
    )
    name = " ".join(tenant.name.split())  # a line break would begin another header
    subject = ngettext(
        "%(count)d new notification in %(tenant)s",
        "%(count)d new notifications in %(tenant)s",
        count,
    ) % {"count": count, "tenant": name[:MAX_SUBJECT]}
    lines = [_build_line(tenant, notification) for notification in notifications]
    context = {
        "greeting": gettext("Hello %(name)s,") % {"name": user.get_full_name()},
        "subject": subject,
        "lines": lines,
        "more": count - len(lines),
        "inbox_link": build_link(tenant.subdomain, INBOX_PAGE),
        "unsubscribe_link": unsubscribe_link,
        "tenant": name,
    }
    return Mail(
        "digest",
        str(user.email),
        subject,
        render_to_string("mail/digest.txt", context),
        render_to_string("mail/digest.html", context),
        _build_headers(unsubscribe_link),
    )


def _build_line(tenant: Tenant, notification: Notification) -> dict[str, str]:
    text = describe_notification(notification)
    return {
        "sentence": text.sentence,
        "subject": " ".join(text.subject.split()),
        "link": build_link(tenant.subdomain, text.path),
    }


def _build_headers(link: str) -> tuple[tuple[str, str], ...]:
    """Return the headers with which a mail program offers to unsubscribe. RFC 8058 needs https."""
    headers = [("List-Unsubscribe", f"<{link}>")]
    if settings.HTTPS:
        headers.append(("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"))
    return tuple(headers)
