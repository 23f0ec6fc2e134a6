"""Server-Sent Events: responses of which the client reads each part as it comes.

The format is that of https://html.spec.whatwg.org/multipage/server-sent-events.html.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from django.http import HttpResponse
from django.utils.cache import patch_vary_headers

from taskflow.http.described_parts import describe_parameter
from taskflow.http.request import Request
from taskflow.http.responses import prepare_response
from taskflow.http.waiting import read_wait_state, send_as_stream

EVENT_STREAM = "text/event-stream"
# One that a client prefers to JSON, as the EventSource of browsers does.
FIRST_TYPE = re.compile(rf"\s*{EVENT_STREAM}\s*(;|,|$)", re.IGNORECASE)
LAST_EVENT_ID = "HTTP_LAST_EVENT_ID"
LAST_EVENT_ID_PARAMETER = describe_parameter(
    "header",
    "Last-Event-ID",
    "Of a stream: the id of the last event that was received, which replaces `after`. Browsers send"
    " it when they connect again.",
    type="string",
    maxLength=200,
)


class SentEvent(NamedTuple):
    """One event of a stream."""

    id: str  # the Last-Event-ID with which to continue after it
    name: str
    data: Mapping[str, object]


def accepts_stream(request: Request) -> bool:
    """Return whether the client wants a stream of events in place of JSON."""
    return FIRST_TYPE.match(request.META.get("HTTP_ACCEPT", "")) is not None


def respond_with_stream(
    request: Request, events: Iterable[SentEvent], last_id: str, *, has_more: bool
) -> HttpResponse:
    """Respond with the events, and let the front send those that come later.

    `last_id` is the position after all of them, also if there are none. With `has_more` the next
    run follows at once. Without a front the response ends after these events.
    """
    response = prepare_response(request)
    response.content = write_frames(events, read_wait_state(request), last_id).encode()
    response["Content-Type"] = f"{EVENT_STREAM}; charset=utf-8"
    response["X-Accel-Buffering"] = "no"  # nginx would collect what is sent in parts
    patch_vary_headers(response, ["Accept"])
    send_as_stream(request, state=last_id, has_more=has_more)
    return response


def write_frames(events: Iterable[SentEvent], former_id: str | None, last_id: str) -> str:
    """Return the text of the events, and the id with which to continue after all of them, unless
    the client has it as `former_id`.

    A frame without data only sets the Last-Event-ID: a client that connects again then continues
    after the events that its filters have left out.
    """
    frames, sent_id = [], former_id
    for event in events:
        sent_id = event.id
        frames.append(f"id: {event.id}\nevent: {event.name}\ndata: {json.dumps(event.data)}\n\n")
    if sent_id != last_id:
        frames.append(f"id: {last_id}\n\n")
    return "".join(frames)
