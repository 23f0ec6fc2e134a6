"""The inbox of a user: which notifications it has, and how they are put into words."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import QuerySet
from django.urls import reverse
from django.utils.translation import gettext

from taskflow.audit.actor import Actor
from taskflow.http.errors import NotFound
from tasks.models import Notification
from tasks.models.notifications import NotificationKind


def list_notifications(actor: Actor) -> QuerySet[Notification]:
    """Return the notifications of the actor about rows that are visible, with what they name."""
    rows: QuerySet[Notification] = Notification.objects.visible_to(actor.viewer)
    related = rows.select_related("actor", "task__project", "page", "project")
    return related.defer(
        "task__description", "task__metadata", "page__body", "project__description"
    )


def find_notification(actor: Actor, notification_id: int) -> Notification:
    """Return a notification of the actor. One query. Raises NotFound."""
    row = list_notifications(actor).filter(pk=notification_id).first()
    if row is None:
        raise NotFound("There is no such notification.")
    return row


# ---- as people read them ------------------------------------------------------------------------


@dataclass(frozen=True)
class NotificationText:
    """A notification in words: what has happened, the key and title of what, and its page."""

    sentence: str
    subject: str
    path: str  # of the page in the admin, without the host


def describe_notification(notification: Notification) -> NotificationText:
    """Return the notification in words. Load it with list_notifications(); then no query."""
    return NotificationText(
        _describe_kind(notification), _name_subject(notification), _find_path(notification)
    )


def _describe_kind(notification: Notification) -> str:
    actor = str(notification.actor) if notification.actor else gettext("The system")
    kind = NotificationKind(notification.kind)
    if kind == NotificationKind.MENTIONED:
        return _describe_mention(notification, actor)
    sentences = {
        NotificationKind.ASSIGNED: gettext("%(actor)s assigned the task to you."),
        NotificationKind.UNBLOCKED: gettext("The task is ready: its last open blocker is gone."),
        NotificationKind.OVERDUE: gettext("The task is overdue."),
        NotificationKind.HANDED_BACK: gettext("%(actor)s gave the task back to you."),
        NotificationKind.NEEDS_INPUT: gettext("%(actor)s needs your input."),
    }
    return sentences[kind] % {"actor": actor}


def _describe_mention(notification: Notification, actor: str) -> str:
    if notification.comment_id:
        sentence = gettext("%(actor)s mentioned you in a comment.")
    elif notification.page_id:
        sentence = gettext("%(actor)s mentioned you in a page.")
    elif notification.project_id:
        sentence = gettext("%(actor)s mentioned you in the description of the project.")
    else:
        sentence = gettext("%(actor)s mentioned you in the description of the task.")
    return sentence % {"actor": actor}


def _name_subject(notification: Notification) -> str:
    if notification.task:
        return f"{notification.task.key} {notification.task.title}"
    if notification.page:
        return str(notification.page.title)
    return str(notification.project)


def _find_path(notification: Notification) -> str:
    if notification.task_id:
        return reverse("admin:tasks_task_change", args=[notification.task_id])
    if notification.page_id:
        return reverse("admin:tasks_page_change", args=[notification.page_id])
    return reverse("admin:tasks_project_change", args=[notification.project_id])
