"""The event feed."""

from __future__ import annotations

from ninja import Query, Router
from pydantic import MISSING

from taskflow.audit.actor import ActorRequest
from taskflow.audit.feed import latest_cursor, read_events
from tasks.queries.feed import describe_events, read_feed_filters
from tasks.schemas.feed import EventFeedParams, EventFeedResponse

event_feed = Router(tags=["Events"])


@event_feed.get("", response=EventFeedResponse)
def list_events(request: ActorRequest, params: Query[EventFeedParams]) -> dict[str, object]:
    """Read the events after a cursor, in the order of their commits. None is left out, and none
    comes twice.

    Begin without `after`, which answers the cursor of now, or with `after=0`, the oldest event.
    Then send `next_cursor` as `after`, again and again; at once while `has_more` is true. You see
    the events of the projects that you can see, as in their histories; administrators also see
    those of users, tokens, tags and the tenant. 410 if the log does not hold the position of the
    cursor.
    """
    actor = request.auth
    filters = read_feed_filters(actor, params)
    if params.after is MISSING:
        return {"data": [], "next_cursor": latest_cursor(), "has_more": False}
    page = read_events(actor.viewer, params.after, filters, params.limit)
    return {
        "data": describe_events(actor, page.events),
        "next_cursor": page.next_cursor,
        "has_more": page.has_more,
    }
