"""What a user does with notifications: they are personal, so nothing of it is recorded."""

from __future__ import annotations

from django.utils.translation import gettext_noop

from accounts.actions.mails import require_mail
from accounts.models import User
from taskflow.audit.actor import Actor
from taskflow.audit.values import FieldValues
from taskflow.http.errors import Conflict, Forbidden, Invalid
from tasks.models import Notification, NotificationPreference
from tasks.models.notifications import Digest


def mark_as_read(actor: Actor, notification: Notification) -> None:
    """Mark a notification of the actor as read. A repeated call changes nothing."""
    Notification.objects.filter(pk=notification.pk).mark_as_read()


def mark_as_unread(actor: Actor, notification: Notification) -> None:
    """Mark a notification of the actor as unread. A repeated call changes nothing."""
    Notification.objects.filter(pk=notification.pk).mark_as_unread()


def mark_all_as_read(actor: Actor, up_to: int | None = None) -> int:
    """Mark the notifications that the actor can see as read, those with greater ids left out.

    Return how many were unread. One statement, and one more with `up_to`. Raises Invalid if the
    actor has no such notification.
    """
    rows = Notification.objects.visible_to(actor.viewer)
    if up_to is not None:
        if not rows.filter(pk=up_to).exists():
            sentence = f"You have no notification {up_to}. GET /notifications lists yours."
            raise Invalid.field("up_to", sentence, "unknown_reference")
        rows = rows.filter(pk__lte=up_to)
    count: int = rows.mark_as_read()
    return count


def read_preferences(actor: Actor) -> NotificationPreference:
    """Return the preferences of the actor, or the defaults. One statement."""
    return NotificationPreference.of(_require_inbox(actor))


def change_preferences(actor: Actor, values: FieldValues) -> NotificationPreference:
    """Set preferences of the actor, and return all of them.

    Raises Conflict for a digest without an e-mail, and Forbidden if this installation sends no
    mail.
    """
    user = _require_inbox(actor)
    if values.get("digest", Digest.OFF) != Digest.OFF:
        require_mail()
        if not user.email:
            raise Conflict(
                gettext_noop("You have no e-mail to which a digest could be sent."), code="no_email"
            )
    return NotificationPreference.store(user, {**values})


def _require_inbox(actor: Actor) -> User:
    """Return the actor's user in this tenant. Raises Forbidden for an operator, who has none, and
    for a token that is bound to projects.
    """
    if actor.member is None:
        raise Forbidden(gettext_noop("An operator has no notifications in this tenant."))
    if actor.project_ids is not None:
        raise Forbidden(
            "A token bound to projects has no access to preferences, which concern all projects."
        )
    return actor.member
