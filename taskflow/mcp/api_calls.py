"""The requests to the API by which tools read and write."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from urllib.parse import urlencode

from django.http import HttpResponse
from django.urls import ResolverMatch, resolve

from accounts.idempotency import run_once
from taskflow.audit.actor import Actor, ActorRequest
from taskflow.http.body_options import is_dry_run
from taskflow.http.errors import Invalid, problem_of_response, problem_of_status
from taskflow.http.media_types import JSON
from taskflow.http.preconditions import parse_idempotency_key, read_idempotency_key
from taskflow.inner_requests import build_inner_request, run_inner_request
from tasks.queries.lookup import PROJECT_KEY_PATTERN, TASK_KEY_PATTERN

API_ROOT = "/api/v1"
REQUEST_ID = "X-Request-Id"
# Headers by which a client of the API chooses the form of a response. Tools read the usual one.
FORM_HEADERS = frozenset({"HTTP_ACCEPT", "HTTP_PREFER", "HTTP_LAST_EVENT_ID"})
Send = Callable[[ActorRequest, ResolverMatch], HttpResponse]


@dataclass(frozen=True)
class Answer:
    """A successful response of the API, and the id of the request that made it.

    For a repeated write both are those of the first request.
    """

    text: str
    request_id: str

    def as_object(self) -> dict[str, object]:
        """Return the JSON object in the response."""
        value = json.loads(self.text)
        assert isinstance(value, dict)
        return value

    def rows(self) -> list[dict[str, object]]:
        """Return the rows of a list in the response."""
        rows = self.as_object()["data"]
        assert isinstance(rows, list)
        return rows


@dataclass(frozen=True)
class ApiCalls:
    """Sends requests to the API inside the transaction of `request`, with its rights.

    `key` is the idempotency key of the writes, or None. If a request waits for commits, the MCP
    request does, and is answered again as a whole.
    """

    request: ActorRequest
    key: str | None = None

    @property
    def actor(self) -> Actor:
        return self.request.actor

    def read(self, path: str, **query: object) -> Answer:
        """Return the answer to a GET. Raises the Problem with which it is refused."""
        return self._send(run_inner_request, "GET", path, query)

    def write(
        self,
        method: str,
        path: str,
        body: object,
        *,
        content_type: str = JSON,
        query: Mapping[str, object] | None = None,
        send: Send = run_inner_request,
    ) -> Answer:
        """Return the answer to a write. Raises the Problem with which it is refused.

        The same write with the same key happens once. `send` is called in place of
        run_inner_request().
        """
        once = send if self.key is None else partial(_send_once, self.key, send)
        return self._send(once, method, path, query or {}, json.dumps(body).encode(), content_type)

    def _send(
        self,
        send: Send,
        method: str,
        path: str,
        query: Mapping[str, object],
        content: bytes = b"",
        content_type: str = JSON,
    ) -> Answer:
        inner = build_inner_request(
            self.request,
            method,
            API_ROOT + path,
            query=encode_query(query),
            content=content,
            content_type=content_type,
            without=FORM_HEADERS,
        )
        response = send(inner, resolve(API_ROOT + path))
        if inner.wait is not None and not is_dry_run(self.request):
            self.request.wait = inner.wait
        if response.status_code >= HTTPStatus.BAD_REQUEST:
            raise problem_of_response(response) or problem_of_status(response.status_code)
        request_id = response.get(REQUEST_ID, self.request.request_id)
        return Answer(response.content.decode(), request_id)


def _send_once(key: str, send: Send, inner: ActorRequest, match: ResolverMatch) -> HttpResponse:
    """Send a write, or return the response that an earlier one with the same key has got."""

    def send_and_name(request: ActorRequest) -> HttpResponse:
        response = send(request, match)
        response[REQUEST_ID] = request.request_id  # stored, so that a retry names the first request
        return response

    return run_once(inner, key, send_and_name)


def read_key(request: ActorRequest, given: object) -> str | None:
    """Return the idempotency key that a tool has got as an argument, or else that of the header.

    Raises Invalid or BadRequest for an unusable key.
    """
    if given is None:
        return read_idempotency_key(request)
    if not isinstance(given, str):
        raise Invalid.field("idempotency_key", "“idempotency_key” must be a text.", "wrong_type")
    return parse_idempotency_key(given)


def encode_query(values: Mapping[str, object]) -> str:
    """Return a query string. A list repeats its name; true and false are as the API reads them."""
    pairs = [(name, _as_text(v)) for name, value in values.items() for v in _as_list(value)]
    return urlencode(pairs)


def _as_list(value: object) -> list[object]:
    # An empty list is sent as an empty value, which the API refuses: it would select everything.
    return (value or [""]) if isinstance(value, list) else [value]


def _as_text(value: object) -> str:
    """Return a JSON value as text of a query string; null as an empty text, which is refused."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value)


def task_path(reference: object, name: str = "task") -> str:
    """Return the path of a task. Raises Invalid unless it is given by key, such as WEB-12."""
    if not isinstance(reference, str) or not TASK_KEY_PATTERN.fullmatch(reference.strip()):
        raise Invalid.field(name, f"“{name}” must be the key of a task, such as WEB-12.")
    return f"/tasks/{reference.strip()}"


def project_path(reference: str) -> str:
    """Return the path of a project. Raises Invalid unless it is given by key, such as WEB."""
    if not PROJECT_KEY_PATTERN.fullmatch(reference):
        raise Invalid.field("uri", "A project is given by its key, as in project:WEB.")
    return f"/projects/{reference}"
