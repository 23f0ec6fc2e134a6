"""Select the events that a request wants to undo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.db.models import Q

from taskflow.audit.actor import Actor
from taskflow.audit.models import Event
from taskflow.http.errors import Invalid, NotFound
from tasks.actions.undo.undoing import (
    MAX_EVENTS,
    NO_SUCH_EVENT,
    build_too_many_events,
    select_visible_events,
)
from tasks.queries.filters import read_projects, read_users

if TYPE_CHECKING:
    from tasks.schemas.undo import UndoRequest

NO_SUCH_REQUEST = NotFound(
    "You have made no visible change with this request id. It is the X-Request-Id of the response."
    " To undo a request of another user, send `actor` too."
)


def select_events(actor: Actor, request: UndoRequest) -> list[Event]:
    """Return the selected events whose rows and projects the actor can see, oldest first.

    A request id selects only events of one user, because clients choose request ids freely. Raises
    NotFound if no selected event is visible, or if one of `event_ids` is not, and Invalid for more
    than MAX_EVENTS events.
    """
    sent = request.sent_fields()
    try:
        rows = Event.objects.filter(_build_condition(actor, sent))
    except Invalid as problem:
        raise problem.with_pointers() from None
    selected = list(rows.select_related("actor").order_by("pk")[: MAX_EVENTS + 1])
    # Counted before invisible events are removed. Otherwise a part of the selection would be undone
    # as if it were the whole.
    if len(selected) > MAX_EVENTS:
        raise build_too_many_events()
    visible = select_visible_events(actor, selected)
    if not visible and "request_id" in sent:
        raise NO_SUCH_REQUEST.copy()
    if not visible or ("event_ids" in sent and len(visible) < len(set(sent["event_ids"]))):
        raise NO_SUCH_EVENT.copy()
    return visible


def _build_condition(actor: Actor, sent: Mapping[str, Any]) -> Q:
    """Return the condition that the body selects an event.

    Raises Invalid for a user or project that the actor cannot see.
    """
    if "request_id" in sent:
        return Q(request_id=sent["request_id"]) & _is_by(actor, str(sent.get("actor", "me")))
    if "event_ids" in sent:
        return Q(pk__in=sorted(set(sent["event_ids"])))
    condition = _is_by(actor, str(sent["actor"])) & Q(created_at__gte=sent["since"])
    if "until" in sent:
        condition &= Q(created_at__lt=sent["until"])
    if "project" in sent:
        condition &= Q(project_id__in=read_projects(actor, "project", [str(sent["project"])]))
    return condition


def _is_by(actor: Actor, ref: str) -> Q:
    """Return the condition that an event was made by a user: `me`, an id or `@handle`; with `none`,
    by an operator or a command.
    """
    if ref == "none":
        return Q(actor__isnull=True)
    if ref == "me" and actor.is_operator:
        return Q(actor__isnull=True, operator_id=actor.user.pk)
    return Q(actor__in=read_users(actor, "actor", [ref]))
