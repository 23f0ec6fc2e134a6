"""
The messages of the Model Context Protocol: which requests are accepted, and the forms of answers.

Revision 2026-07-28 has no session: every request names its version and the capabilities of the
client in `params._meta`, and repeats version, method and name in headers. Clients of the revisions
before begin with `initialize` and send no `_meta`. This server keeps no state for them either.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from taskflow.http.parsing import MAX_JSON_DEPTH, parse_json

STATELESS = "2026-07-28"
WITH_HANDSHAKE = ("2025-11-25", "2025-06-18", "2025-03-26")  # the first is offered to others
VERSIONS = (STATELESS, *WITH_HANDSHAKE)
PREFIX = "io.modelcontextprotocol/"  # of the names in `_meta`
MAX_DEPTH = MAX_JSON_DEPTH + 4  # the arguments of a tool are four levels down in a message
MAX_ID_LENGTH = 200  # characters

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
HEADER_MISMATCH = -32020
UNSUPPORTED_VERSION = -32022
STATUSES = {METHOD_NOT_FOUND: HTTPStatus.NOT_FOUND}  # of errors; the others are 400

# Methods whose header Mcp-Name repeats a parameter.
NAME_PARAMETERS = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
ENCODED = re.compile(r"=\?base64\?(.*)\?=")  # how a header contains other characters than ASCII


class ProtocolError(Exception):
    """A request that is answered with an error of JSON-RPC."""

    def __init__(self, code: int, message: str, data: Mapping[str, object] | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.data = code, message, data

    @property
    def status(self) -> HTTPStatus:
        return STATUSES.get(self.code, HTTPStatus.BAD_REQUEST)

    def as_message(self, request_id: int | str | None) -> dict[str, object]:
        """Return the error as a message of JSON-RPC."""
        error: dict[str, object] = {"code": self.code, "message": self.message}
        if self.data is not None:
            error["data"] = self.data
        return {"jsonrpc": "2.0", "id": request_id, "error": error}


@dataclass(frozen=True)
class Call:
    """One accepted request: a method with its parameters."""

    id: int | str
    method: str
    params: Mapping[str, object]
    version: str
    capabilities: Mapping[str, object]  # of the client; empty for clients with a handshake

    @property
    def is_stateless(self) -> bool:
        return self.version == STATELESS

    @property
    def arguments(self) -> Mapping[str, object]:
        """The arguments of a tool. Raises ProtocolError if they are no object."""
        return as_object(self.params.get("arguments", {}), "params.arguments")

    @property
    def can_show_forms(self) -> bool:
        """Whether the client can ask its user with a form in the middle of a tool call."""
        elicitation = self.capabilities.get("elicitation")
        return isinstance(elicitation, Mapping) and (not elicitation or "form" in elicitation)

    def text(self, name: str) -> str:
        """Return a parameter that must be a text. Raises ProtocolError if it is none."""
        value = self.params.get(name)
        if not isinstance(value, str):
            raise ProtocolError(INVALID_PARAMS, f"params.{name} must be a text.")
        return value

    def as_result(self, result: Mapping[str, object], *, ttl_ms: int | None = None) -> object:
        """Return the result as a message of JSON-RPC.

        `ttl_ms` is for how many milliseconds a client may keep the result for itself; None for a
        result that it may not keep.
        """
        if self.is_stateless:
            cache = {} if ttl_ms is None else {"ttlMs": ttl_ms, "cacheScope": "private"}
            result = {"resultType": "complete", **cache, **result}
        return {"jsonrpc": "2.0", "id": self.id, "result": result}


def read_message(body: bytes) -> Mapping[str, object]:
    """Return the message in a body. Raises ProtocolError unless it is one object of JSON-RPC."""
    try:
        message = parse_json(body, max_depth=MAX_DEPTH)
    except ValueError as error:
        raise ProtocolError(PARSE_ERROR, str(error)) from None
    if not isinstance(message, dict) or message.get("jsonrpc") != "2.0":
        raise ProtocolError(INVALID_REQUEST, "Send one JSON-RPC 2.0 object, not a batch.")
    if not isinstance(message.get("method"), str):
        raise ProtocolError(INVALID_REQUEST, "method is missing or no text.")
    if "id" in message and not _is_request_id(message["id"]):
        raise ProtocolError(INVALID_REQUEST, "id must be a number or a text.")
    return message


def is_notification(message: Mapping[str, object]) -> bool:
    """Return whether a message expects no answer."""
    return "id" not in message


def _is_request_id(value: object) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (isinstance(value, str) and len(value) <= MAX_ID_LENGTH)


def read_call(message: Mapping[str, object], headers: Mapping[str, object]) -> Call:
    """Return the request in a message that is not a notification.

    `headers` are those of WSGI. Raises ProtocolError for an unsupported version, and if version,
    method or name of a header differ from those of the message.
    """
    request_id, method = message["id"], message["method"]
    assert isinstance(request_id, int | str)
    assert isinstance(method, str)
    params = as_object(message.get("params", {}), "params")
    sent = headers.get("HTTP_MCP_PROTOCOL_VERSION")
    meta = params.get("_meta")
    has_version = isinstance(meta, Mapping) and f"{PREFIX}protocolVersion" in meta
    if sent != STATELESS and not has_version:
        former = _check_version(WITH_HANDSHAKE[0] if sent is None else sent)
        return Call(request_id, method, params, former, {})
    capabilities, version = _read_envelope(params)
    _check_headers(method, params, version, headers)
    return Call(request_id, method, params, _check_version(version), capabilities)


def _read_envelope(params: Mapping[str, object]) -> tuple[Mapping[str, object], object]:
    """Return the client's capabilities and its version, which `_meta` contains."""
    meta = as_object(params.get("_meta"), "params._meta")
    names = [f"{PREFIX}protocolVersion", f"{PREFIX}clientCapabilities"]
    if missing := [name for name in names if name not in meta]:
        raise ProtocolError(INVALID_PARAMS, f"params._meta has no {' and no '.join(missing)}.")
    return as_object(meta[names[1]], f"params._meta.{names[1]}"), meta[names[0]]


def _check_headers(
    method: str, params: Mapping[str, object], version: object, headers: Mapping[str, object]
) -> None:
    """Raise ProtocolError unless the headers repeat what the message says."""
    expected: dict[str, object] = {"MCP-Protocol-Version": version, "Mcp-Method": method}
    parameter = NAME_PARAMETERS.get(method)
    if parameter is not None and params.get(parameter) is not None:
        expected["Mcp-Name"] = params[parameter]
    for name, value in expected.items():
        sent = headers.get(f"HTTP_{name.upper().replace('-', '_')}")
        if sent is None:
            raise ProtocolError(HEADER_MISMATCH, f"The header {name} is missing.")
        if _decode_header(str(sent)) != value:
            raise ProtocolError(
                HEADER_MISMATCH, f"The header {name} differs from what the message says."
            )


def _decode_header(text: str) -> str | None:
    """Return the value of a header, which may be in Base64; None for wrong Base64."""
    match = ENCODED.fullmatch(text)
    if match is None:
        return text
    try:
        return base64.b64decode(match[1], validate=True).decode()
    except (binascii.Error, ValueError):
        return None


def _check_version(version: object) -> str:
    """Return a version that this server supports. Raises ProtocolError for any other."""
    if not isinstance(version, str):
        raise ProtocolError(INVALID_PARAMS, "The protocol version must be a text.")
    if version not in VERSIONS:
        raise ProtocolError(
            UNSUPPORTED_VERSION,
            f"The protocol version is not supported. Use one of {', '.join(VERSIONS)}.",
            {"supported": list(VERSIONS), "requested": version[:100]},
        )
    return version


def as_object(value: object, name: str) -> Mapping[str, object]:
    """Return a value that must be a JSON object. Raises ProtocolError with its name otherwise."""
    if not isinstance(value, dict):
        raise ProtocolError(INVALID_PARAMS, f"{name} must be an object.")
    return value
