"""Requests to the API that another request sends inside its own transaction: of plans and tools."""

from __future__ import annotations

import io
from http import HTTPStatus

from django.http import HttpResponse
from django.urls import ResolverMatch

from taskflow.audit.actor import ActorRequest
from taskflow.audit.event_log import savepoint
from taskflow.http.body_options import read_body_options
from taskflow.http.errors import problem_of_response, problem_of_status
from taskflow.http.media_types import JSON

# Headers of the outer request that are not headers of the inner one.
DROPPED_HEADERS = frozenset({"HTTP_IDEMPOTENCY_KEY", "HTTP_IF_NONE_MATCH"})


class _RefusedRequest(Exception):
    """Rolls back what a request that was refused has done."""

    def __init__(self, response: HttpResponse) -> None:
        super().__init__(response.status_code)
        self.response = response


def build_inner_request(
    request: ActorRequest,
    method: str,
    path: str,
    *,
    query: str = "",
    content: bytes = b"",
    content_type: str = JSON,
    without: frozenset[str] = frozenset(),
) -> ActorRequest:
    """Return a request with the credentials, the actor and the headers of `request`.

    `path` is decoded, in the form of PEP 3333. `without` are further headers to leave out, by their
    names in WSGI.
    """
    dropped = DROPPED_HEADERS | without
    environ: dict[str, object] = {
        **{name: value for name, value in request.environ.items() if name not in dropped},
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "CONTENT_TYPE": content_type,
        "CONTENT_LENGTH": str(len(content)),
        "wsgi.input": io.BytesIO(content),
    }
    inner = type(request)(environ)
    read_body_options(inner)
    inner.request_id, inner.actor = request.request_id, request.actor
    if hasattr(request, "session"):
        inner.session = request.session
    return inner


def run_inner_request(inner: ActorRequest, match: ResolverMatch) -> HttpResponse:
    """Return the response of the view. What a refused request has done is rolled back."""
    inner.resolver_match = match
    try:
        with savepoint():
            response: HttpResponse = match.func(inner, *match.args, **match.kwargs)
            if response.status_code >= HTTPStatus.BAD_REQUEST:
                raise _RefusedRequest(response)
    except _RefusedRequest as refusal:
        response = refusal.response
        if problem_of_response(response) is None:  # of Django or ninja, such as a 405
            return problem_of_status(response.status_code).as_response(inner)
    return response
