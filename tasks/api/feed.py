"""The event feed."""

from __future__ import annotations

import json

from django.http import HttpResponse
from ninja import Query, Router

from taskflow.audit.actor import ActorRequest
from taskflow.audit.feed import FeedPage, latest_cursor, read_events
from taskflow.http.openapi import Encoder
from taskflow.http.server_sent_events import (
    EVENT_STREAM,
    LAST_EVENT_ID,
    LAST_EVENT_ID_PARAMETER,
    SentEvent,
    accepts_stream,
    respond_with_stream,
)
from taskflow.http.waiting import (
    list_readers,
    read_wait_state,
    share_answer,
    wait_for_commit,
)
from tasks.queries.feed import describe_events, read_feed_filters
from tasks.queries.feed_readers import classify_readers
from tasks.schemas.feed import EventFeedParams, EventFeedResponse, FeedEvent

event_feed = Router(tags=["Events"])
STREAM = {
    "schema": {"type": "string"},
    "example": "id: WzAsNzUyLDE4XQ\nevent: task.completed\ndata: {}\n\n",
}


@event_feed.get(
    "",
    response=EventFeedResponse,
    openapi_extra={
        "parameters": [LAST_EVENT_ID_PARAMETER],
        "responses": {200: {"content": {EVENT_STREAM: STREAM}}},
    },
)
def list_events(
    request: ActorRequest, params: Query[EventFeedParams]
) -> dict[str, object] | HttpResponse:
    """Read the events after a cursor, in the order of their commits. None is left out, and none
    comes twice.

    Begin without `after`, which answers the cursor of now, or with `after=0`, the oldest event.
    Then send `next_cursor` as `after`, again and again; at once while `has_more` is true. With
    `wait=25` an empty answer waits for the next event. With `Accept: text/event-stream` the
    response does not end: each event is sent as it is committed. You see
    the events of the projects that you can see, as in their histories; administrators also see
    those of users, tokens, tags and the tenant. 410 if the log does not hold the position of the
    cursor.
    """
    page = _read_page(request, params)
    events = describe_events(request.auth, page.events)
    if readers := list_readers(request):
        share_answer(request, classify_readers(readers, page, names_me=params.names_me))
    if accepts_stream(request):
        sent = [_as_sent(event) for event in events]
        return respond_with_stream(request, sent, page.next_cursor, has_more=page.has_more)
    if params.wait and not events and not page.has_more:
        wait_for_commit(request, seconds=params.wait, state=page.next_cursor)
    return {"data": events, "next_cursor": page.next_cursor, "has_more": page.has_more}


def _read_page(request: ActorRequest, params: EventFeedParams) -> FeedPage:
    """Return the events after the cursor of the request, or after that of its last run."""
    filters = read_feed_filters(request.auth, params)
    after = read_wait_state(request)
    if after is None and accepts_stream(request):
        after = request.META.get(LAST_EVENT_ID)
    if after is None:
        after = params.sent_after
    if after is None:
        return FeedPage([], latest_cursor(), has_more=False)
    return read_events(request.auth.viewer, after, filters, params.limit)


def _as_sent(event: dict[str, object]) -> SentEvent:
    """Return an event as one of a stream, with the same JSON as in a list."""
    data = FeedEvent.model_validate(event)
    return SentEvent(data.cursor, data.verb, json.loads(json.dumps(data.model_dump(), cls=Encoder)))
