"""Operations on the notifications of the user who sends the request."""

from __future__ import annotations

from ninja import Query, Router

from taskflow.audit.actor import ActorRequest
from taskflow.http.paging import PageContents, paginate
from tasks.actions import notifications as actions
from tasks.models import Notification, NotificationPreference
from tasks.queries import notifications as queries
from tasks.schemas.notifications import (
    NotificationFilters,
    NotificationListResponse,
    NotificationResponse,
    PreferencesResponse,
    PreferencesUpdate,
    ReadingCreate,
    ReadingResponse,
)

notifications = Router(tags=["Notifications"])


@notifications.get("", response=NotificationListResponse)
def list_notifications(
    request: ActorRequest, filters: Query[NotificationFilters]
) -> PageContents[Notification]:
    """List your notifications, newest first: tasks that were assigned to you, mentions of you, and
    what happened to your tasks.

    They are made from the events of others within about a minute, and kept for 90 days. Those about
    rows that you cannot see any more are left out.
    """
    rows, sent = queries.list_notifications(request.auth), filters.sent_fields()
    if "unread" in sent:
        rows = rows.filter(read_at__isnull=sent["unread"])
    if "kind" in sent:
        rows = rows.filter(kind__in=sent["kind"])
    return paginate(rows, filters, order=["-id"])


@notifications.post("/reading", response=ReadingResponse)
def mark_notifications_read(request: ActorRequest, body: ReadingCreate) -> dict[str, int]:
    """Mark all of your notifications as read, or all up to one. A repeated request changes nothing.

    With a token bound to projects, those about these projects.
    """
    return {"count": actions.mark_all_as_read(request.auth, body.sent_fields().get("up_to"))}


@notifications.get("/preferences", response=PreferencesResponse)
def get_preferences(request: ActorRequest) -> NotificationPreference:
    """Get what you are notified of, and whether you get it by e-mail."""
    return actions.read_preferences(request.auth)


@notifications.api_operation(["PATCH", "PUT"], "/preferences", response=PreferencesResponse)
def update_preferences(request: ActorRequest, body: PreferencesUpdate) -> NotificationPreference:
    """Change what you are notified of. PUT behaves like PATCH.

    Returns 403 `email_off` for a digest if this installation sends no mail, and 409 `no_email` for
    a user without an e-mail.
    """
    return actions.change_preferences(request.auth, body.sent_fields())


@notifications.get("/{id:notification_id}", response=NotificationResponse)
def get_notification(request: ActorRequest, notification_id: int) -> Notification:
    """Get one of your notifications."""
    return queries.find_notification(request.auth, notification_id)


@notifications.post("/{id:notification_id}/reading", response=NotificationResponse)
def mark_notification_read(request: ActorRequest, notification_id: int) -> Notification:
    """Mark a notification as read. A repeated request changes nothing."""
    notification = queries.find_notification(request.auth, notification_id)
    actions.mark_as_read(request.auth, notification)
    return queries.find_notification(request.auth, notification_id)


@notifications.delete("/{id:notification_id}/reading", response=NotificationResponse)
def mark_notification_unread(request: ActorRequest, notification_id: int) -> Notification:
    """Mark a notification as unread. A repeated request changes nothing."""
    notification = queries.find_notification(request.auth, notification_id)
    actions.mark_as_unread(request.auth, notification)
    return queries.find_notification(request.auth, notification_id)
