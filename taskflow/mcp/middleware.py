"""Reads the messages of requests to /mcp before a transaction is open.

What a message asks for decides whether the transaction is a reading one, so it is read first.
Everything that needs the user is done later, by endpoint.py.
"""

from __future__ import annotations

import json
from http import HTTPStatus

from django.core.exceptions import DisallowedHost
from django.http import HttpResponse, HttpResponseNotAllowed

from taskflow.http.bodies import MCP_PATH, read_body
from taskflow.http.cors import is_allowed_origin
from taskflow.http.errors import Forbidden, UnsupportedMedia
from taskflow.http.media_types import JSON
from taskflow.http.middleware import GetResponse
from taskflow.http.request import Request
from taskflow.mcp.protocol import Call, ProtocolError, is_notification, read_call, read_message
from taskflow.mcp.tools import TOOLS

REFUSED_ORIGIN = Forbidden(
    "Pages of this origin may not call the tools. The operator allows origins with"
    " TASKFLOW_CORS_ORIGINS."
)
REFUSED_TYPE = UnsupportedMedia(f"Send one JSON-RPC message, with Content-Type: {JSON}.")


class McpMiddleware:
    """Sets `request.call` and `request.tool_access` of a request to /mcp, or refuses it."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: Request) -> HttpResponse:
        if request.path != MCP_PATH:
            return self.get_response(request)
        if request.method != "POST":  # there is no stream to open, and no session to end
            return HttpResponseNotAllowed(["POST"])
        if not has_allowed_origin(request):
            return REFUSED_ORIGIN.copy().as_response(request)
        if request.content_type != JSON:
            return REFUSED_TYPE.copy().as_response(request)
        if (refusal := read_body(request)) is not None:
            return refusal
        return self.read_and_answer(request)

    def read_and_answer(self, request: Request) -> HttpResponse:
        message_id: int | str | None = None
        try:
            message = read_message(request.body)
            if is_notification(message):
                return HttpResponse(status=HTTPStatus.ACCEPTED)
            given = message["id"]
            message_id = given if isinstance(given, int | str) else None
            call = read_call(message, request.META)
            request.tool_access = "read" if is_reading(call) else "write"
        except ProtocolError as error:
            return error_response(error, message_id)
        request.call = call
        return self.get_response(request)


def has_allowed_origin(request: Request) -> bool:
    """Return whether no page sends the request, or one of this host or of an allowed origin.

    A page of any other site could otherwise use a server that only its user's network reaches.
    """
    origin = request.META.get("HTTP_ORIGIN")
    if origin is None:
        return True
    try:
        own = f"{request.scheme}://{request.get_host()}"
    except DisallowedHost:
        return False
    return origin == own or is_allowed_origin(origin)


def is_reading(call: Call) -> bool:
    """Return whether a request changes nothing: every method does but the call of a writing tool.

    The call of a tool that does not exist is refused without a query.
    """
    if call.method != "tools/call":
        return True
    tool = TOOLS.get(call.text("name"))
    return tool is None or tool.is_reading


def error_response(
    error: ProtocolError, message_id: int | str | None, status: int | None = None
) -> HttpResponse:
    """Return an error of JSON-RPC as a response, by default with the status of its code."""
    content = json.dumps(error.as_message(message_id), ensure_ascii=False)
    return McpResponse(content, status=status or error.status)


class McpResponse(HttpResponse):
    """A message of JSON-RPC. An error among them is not turned into a problem document."""

    is_complete = True

    def __init__(self, content: str, status: int = HTTPStatus.OK) -> None:
        super().__init__(content, status=status, content_type=JSON)
