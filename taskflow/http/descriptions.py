"""What the OpenAPI document says beside what ninja derives from the functions.

Errors, conditional requests, dry runs and headers are the same for all operations, so they are
described here in one place.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from taskflow.http.attribution import MAX_REASON_LENGTH, ON_BEHALF_OF
from taskflow.http.attribution import REASON as REASON_HEADER
from taskflow.http.components import OpenApiDocument
from taskflow.http.errors import CONTENT_TYPE
from taskflow.http.preconditions import DRY_RUN, MAX_KEY_LENGTH

ERRORS = {
    400: ("BadRequest", "The request cannot be read."),
    401: ("Unauthenticated", "The credentials are missing, wrong, expired or revoked."),
    403: ("Forbidden", "You can see it, but may not do this."),
    404: ("NotFound", "It does not exist, or not for you."),
    409: ("Conflict", "It clashes with what is there."),
    412: ("PreconditionFailed", "It has changed since the version that If-Match names."),
    411: ("LengthRequired", "The body comes in chunks, without a Content-Length."),
    413: ("TooLarge", "The body is larger than 1 MiB."),
    415: ("UnsupportedMedia", "The body is not application/json."),
    422: ("Invalid", "A field or parameter is not acceptable; `errors` says which."),
    500: ("Internal", "Something broke in TaskFlow. Nothing was changed."),
    503: ("Unavailable", "The database does not answer. Try again after Retry-After seconds."),
}


def complete(document: OpenApiDocument) -> OpenApiDocument:
    """Describe what all operations have in common. Returns the same document."""
    document.add_schema_definitions(
        {"Problem": PROBLEM, "FieldProblem": FIELD_PROBLEM, "DryRun": DRY_RUN_SCHEMA}
    )
    document["components"]["responses"] = {
        name: _error_response(status, detail) for status, (name, detail) in ERRORS.items()
    }
    for method, operation in _operations(document):
        if method == "get":
            _describe_read(document, operation)
        else:
            _describe_write(document, operation)
        for status in sorted(_expected_errors(method, operation)):
            ref = {"$ref": f"#/components/responses/{ERRORS[status][0]}"}
            operation["responses"].setdefault(status, ref)
    _give_put_its_own_id(document)
    _remove_unused_schemas(document)
    return document


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the operations with their methods. One that PATCH and PUT share comes twice."""
    for methods in document["paths"].values():
        yield from methods.items()


def _error_response(status: int, detail: str) -> dict[str, Any]:
    content = {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    headers = {401: WWW_AUTHENTICATE, 503: RETRY_AFTER}.get(status)
    return {"description": detail, "content": content} | ({"headers": headers} if headers else {})


def _expected_errors(method: str, operation: dict[str, Any]) -> set[int]:
    expected = {400, 404, 422, 500, 503}  # 404 also when X-Tenant or host are not the token's
    expected |= {401, 403} if operation.get("security") else set()
    expected |= {409, 411} if method != "get" else set()
    expected |= {412} if method != "get" and operation.get("security") else set()
    expected |= {413, 415} if "requestBody" in operation else set()
    return expected


def _describe_read(document: dict[str, Any], operation: dict[str, Any]) -> None:
    if "version" not in _properties(document, operation["responses"].get(200, {})):
        return
    operation.setdefault("parameters", []).append(IF_NONE_MATCH)
    operation["responses"][200]["headers"] = ETAG
    operation["responses"][304] = {
        "description": "It is as the ETag says that you know.",
        "headers": ETAG,
    }


def _describe_write(document: dict[str, Any], operation: dict[str, Any]) -> None:
    """Describe headers and, for those who are signed in, preconditions and dry runs.

    Ninja describes PATCH and PUT by one and the same dict, and once is enough.
    """
    responses = operation["responses"]
    if "id" in _properties(document, responses.get(201, {})):
        responses[201]["headers"] = LOCATION
    parameters = operation.setdefault("parameters", [])
    if not operation.get("security") or IF_MATCH in parameters:
        return
    parameters += [DRY_RUN_PARAMETER, IDEMPOTENCY_KEY, IF_MATCH, REASON, ON_BEHALF_OF_USER]
    if 200 in responses:
        content = responses[200]["content"]["application/json"]
        content["schema"] = {"anyOf": [content["schema"], DRY_RUN_REF]}
        responses[200]["description"] += "; a DryRun with dry_run=true."
    else:
        responses[200] = DRY_RUN_RESPONSE


def _properties(document: dict[str, Any], response: dict[str, Any]) -> dict[str, Any]:
    """The properties of the schema that a response refers to; none when it refers to none."""
    schema = response.get("content", {}).get("application/json", {}).get("schema", {})
    name = schema.get("$ref", "").rpartition("/")[2]
    properties: dict[str, Any] = (
        document["components"]["schemas"].get(name, {}).get("properties", {})
    )
    return properties


def _give_put_its_own_id(document: dict[str, Any]) -> None:
    for methods in document["paths"].values():
        if "put" in methods:  # ninja describes PATCH and PUT by one and the same dict
            name = methods["put"]["operationId"].replace("update_", "put_")
            methods["put"] = methods["put"] | {"operationId": name}


def _remove_unused_schemas(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    kept: set[str] = set()
    text = json.dumps([document["paths"], document["components"]["responses"]], default=str)
    while found := {n for n in schemas.keys() - kept if f'schemas/{n}"' in text}:
        kept |= found
        text += json.dumps([schemas[n] for n in found], default=str)
    for name in schemas.keys() - kept:
        del schemas[name]


FIELD_PROBLEM = {
    "type": "object",
    "title": "FieldProblem",
    "description": "One thing that is wrong. What it is about is named by one or more properties.",
    "required": ["code", "detail"],
    "properties": {
        "pointer": {"type": "string", "description": "JSON pointer into the body."},
        "parameter": {
            "type": "string",
            "description": "Name of the query, path or header parameter.",
        },
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "yours": {"description": "412: what you sent."},
        "theirs": {"description": "412: what it is now."},
        "base": {"description": "412: what it was when you saw it."},
        "task_id": {"type": "integer", "description": "The open task."},
        "project_id": {"type": "integer", "description": "The project without another owner."},
        "kind": {"type": "string", "description": "What the user owns, in the plural."},
        "count": {"type": "integer", "description": "How many of this kind the user owns."},
        "line": {"type": "integer", "description": "Line of the CSV, from 1."},
        "column": {"type": ["string", "null"], "description": "Column of the CSV."},
        "event_id": {"type": "integer", "description": "The event that cannot be undone."},
        "subject": {
            "type": "object",
            "description": "The row that the event is about.",
            "required": ["type", "id"],
            "properties": {"type": {"type": "string"}, "id": {"type": "integer"}},
        },
        "field": {"type": ["string", "null"], "description": "Field of the subject."},
    },
}
PROBLEM = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457 problem details.",
    "required": ["type", "title", "status", "code", "detail", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "Stable; meant for programs."},
        "detail": {"type": "string", "description": "One sentence that says what to do."},
        "errors": {"type": "array", "items": {"$ref": "#/components/schemas/FieldProblem"}},
        "request_id": {"type": ["string", "null"]},
    },
}


def _parameter(place: str, name: str, description: str, **schema: Any) -> dict[str, Any]:
    known = {"in": place, "name": name, "required": False}
    return known | {"schema": schema, "description": description}


DRY_RUN_PARAMETER = _parameter(
    "query",
    DRY_RUN,
    "Do it, with all rules and constraints, answer a DryRun, and take it back: no number, event or"
    " key is used up. Ids and times of the real call will be others.",
    type="boolean",
    default=False,
)
IDEMPOTENCY_KEY = _parameter(
    "header",
    "Idempotency-Key",
    "A new one for each write, the same for its retries: for 24 hours they get the first answer,"
    " with Idempotency-Replayed: true. Keys are per user. A refusal is not kept.",
    type="string",
    minLength=1,
    maxLength=MAX_KEY_LENGTH,
)
IF_MATCH = _parameter(
    "header",
    "If-Match",
    "The ETag that you have seen. 412 when others have changed since one of the fields that you"
    " set, with yours, theirs and base in `errors`; other fields merge.",
    type="string",
)
REASON = _parameter(
    "header",
    REASON_HEADER,
    f"Why the change is made, in one line of at most {MAX_REASON_LENGTH} characters. It is recorded"
    " with every event of the request. Percent-encode % and characters that are not ASCII, as"
    " UTF-8.",
    type="string",
    minLength=1,
)
ON_BEHALF_OF_USER = _parameter(
    "header",
    ON_BEHALF_OF,
    "The user for whom the change is made: an id, or a handle as in @ada. It is recorded with every"
    " event of the request. An agent may name its responsible user, an administrator any active"
    " user; otherwise 403.",
    type="string",
)
IF_NONE_MATCH = _parameter(
    "header", "If-None-Match", "The ETag that you have. 304 when it is still true.", type="string"
)
DRY_RUN_SCHEMA = {
    "type": "object",
    "title": "DryRun",
    "description": "What a write with dry_run=true would have done.",
    "required": ["dry_run", "status", "result", "event_count", "events"],
    "properties": {
        "dry_run": {"type": "boolean", "description": "Always true."},
        "status": {"type": "integer", "description": "That it would have answered."},
        "result": {"description": "What it would have answered.", "type": ["object", "null"]},
        "event_count": {"type": "integer"},
        "events": {
            "type": "array",
            "description": "What would have been recorded, the first 500.",
            "items": {"$ref": "#/components/schemas/EventResponse"},
        },
    },
}
DRY_RUN_REF = {"$ref": "#/components/schemas/DryRun"}
DRY_RUN_RESPONSE = {
    "description": "With dry_run=true.",
    "content": {"application/json": {"schema": DRY_RUN_REF}},
}


def _header(name: str, description: str) -> dict[str, Any]:
    return {name: {"description": description, "schema": {"type": "string"}}}


ETAG = _header("ETag", "Names this version, for If-None-Match and If-Match.")
LOCATION = _header("Location", "The address of the new row.")
WWW_AUTHENTICATE = _header("WWW-Authenticate", "How to authenticate: with a bearer token.")
RETRY_AFTER = _header("Retry-After", "Seconds to wait before the next attempt.")
