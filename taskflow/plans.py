"""Plans: what a write would do, without doing it.

The middleware rolls back every request to PLANS_PATH, as it does with dry runs.
"""

from __future__ import annotations

import json
from enum import StrEnum
from http import HTTPStatus
from typing import Annotated, Self
from urllib.parse import unquote_to_bytes

from django.http import HttpResponse
from django.urls import Resolver404, ResolverMatch, resolve
from ninja import Router
from pydantic import MISSING, Field, model_validator

from accounts.auth import PUBLIC_PATHS, read_auth
from accounts.middleware import PLANS_PATH
from accounts.schemas.events import EventResponse, build_event_response
from taskflow.audit.actor import ActorRequest
from taskflow.audit.event_log import capture_events
from taskflow.audit.history import read_history
from taskflow.http.errors import Invalid
from taskflow.http.media_types import JSON, MERGE_PATCH
from taskflow.http.schema import In, Out, example, is_unstorable
from taskflow.inner_requests import build_inner_request, run_inner_request

API_ROOT = "/api/v1/"
MAX_EVENTS = 500  # in a response

plans = Router(tags=["Plans"], auth=read_auth)


class PlannedMethod(StrEnum):
    """A method that changes something."""

    POST = "POST"
    PATCH = "PATCH"
    PUT = "PUT"
    DELETE = "DELETE"


class PlannedContentType(StrEnum):
    """The media type of a JSON body."""

    JSON = JSON
    MERGE_PATCH = MERGE_PATCH


class PlanRequest(In):
    """The request to plan."""

    model_config = example(method="DELETE", path="/api/v1/tasks/WEB-1")

    method: PlannedMethod = Field(description="The method of the request.")
    path: Annotated[str, Field(min_length=1, max_length=2000)] = Field(
        description="The path and the query string of the request, beginning with /api/v1/.",
        examples=["/api/v1/tasks/WEB-1?force=true"],
    )
    body: object | MISSING = Field(
        MISSING, description="The JSON body of the request. A text is sent as a CSV file."
    )
    content_type: PlannedContentType = Field(
        PlannedContentType.JSON,
        description="The Content-Type of a JSON body. With `application/merge-patch+json`, a PATCH"
        " merges `metadata`.",
    )

    @model_validator(mode="after")
    def _check_content_type(self) -> Self:
        if isinstance(self.body, str) and "content_type" in self.model_fields_set:
            raise ValueError("Leave out `content_type`, or send an object: a text is sent as CSV.")
        return self


class PlanResponse(Out):
    """What the request would have answered and recorded."""

    status: int = Field(description="The status of the response.", examples=[204])
    result: object = Field(description="The body of the response; null if it has none.")
    event_count: int = Field(description="How many events would have been recorded.")
    events: list[EventResponse] = Field(
        description=f"The first {MAX_EVENTS} of them. Real ones have other ids and times."
    )


@plans.post("", response=PlanResponse)
def plan(request: ActorRequest, body: PlanRequest) -> HttpResponse | dict[str, object]:
    """Answer what a write would answer and record, and change nothing.

    The request runs with all rules and constraints, with your rights and with the headers of this
    one, except for the Idempotency-Key. If it is refused, `status` and `result` are
    those of its problem document, and there are no events. A request with a `dry_run` of its own is
    planned in the same way. Signing in, registering and plans themselves cannot be planned.
    """
    planned = build_planned_request(request, body)
    match = _resolve(planned)
    with capture_events() as events:
        response = run_inner_request(planned, match)
    if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return response  # the database is busy, or there is a bug: there is no plan
    entries = read_history(request.auth, events[:MAX_EVENTS])
    return {
        "status": response.status_code,
        "result": _read_result(response),
        "event_count": len(events),
        "events": [build_event_response(entry) for entry in entries],
    }


def build_planned_request(request: ActorRequest, body: PlanRequest) -> ActorRequest:
    """Return the request to plan, with the credentials and the actor of `request`."""
    path, _, query = body.path.partition("?")
    is_csv = isinstance(body.body, str)
    return build_inner_request(
        request,
        body.method.value,
        unquote_to_bytes(path).decode("latin-1"),  # as PEP 3333 has it
        query=query,
        content=b"" if body.body is MISSING else _encode(body.body),
        content_type="text/csv" if is_csv else body.content_type.value,
    )


def _encode(body: object) -> bytes:
    return (body if isinstance(body, str) else json.dumps(body)).encode()


def _resolve(planned: ActorRequest) -> ResolverMatch:
    """Return the view of the request. Raises Invalid if it cannot be planned."""
    path = planned.path_info
    if path in PUBLIC_PATHS or path.rstrip("/") == PLANS_PATH:
        raise Invalid.field("path", f"A request to {path} cannot be planned. Send it itself.")
    if not path.startswith(API_ROOT) or is_unstorable(path):
        raise Invalid.field("path", f"“path” must begin with {API_ROOT}.", "wrong_format")
    try:
        return resolve(path)
    except Resolver404:
        raise Invalid.field(
            "path", "There is nothing at this path. See /api/v1/docs.", "not_found"
        ) from None


def _read_result(response: HttpResponse) -> object:
    """Return the body of a response as JSON, or None if it has none."""
    return json.loads(response.content) if response.content else None
