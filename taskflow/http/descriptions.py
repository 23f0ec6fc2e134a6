"""Parts of the OpenAPI document that ninja does not derive from the functions.

Errors, conditional requests, dry runs and headers are the same for all operations, so they are
described here in one place.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from taskflow.http.attribution import MAX_REASON_LENGTH, ON_BEHALF_OF_HEADER, REASON_HEADER
from taskflow.http.components import OpenApiDocument, Schema
from taskflow.http.errors import CONTENT_TYPE
from taskflow.http.preconditions import DRY_RUN, MAX_KEY_LENGTH

ERRORS = {
    400: ("BadRequest", "The request cannot be parsed."),
    401: ("Unauthenticated", "The credentials are missing, wrong, expired or revoked."),
    403: ("Forbidden", "The object is visible to you, but you are not allowed to do this."),
    404: ("NotFound", "The object does not exist or is not visible to you."),
    409: ("Conflict", "The change contradicts what is stored."),
    412: ("PreconditionFailed", "The object has changed since the version in If-Match."),
    411: ("LengthRequired", "The body is sent in chunks, without a Content-Length."),
    413: ("TooLarge", "The body is larger than 1 MiB."),
    415: ("UnsupportedMedia", "The body is not application/json."),
    422: ("Invalid", "A field or parameter has a value that is not allowed. See `errors`."),
    500: ("Internal", "The server failed. Nothing was changed."),
    503: (
        "Unavailable",
        "The database cannot be reached. Send the request again after Retry-After seconds.",
    ),
}


def complete_document(document: OpenApiDocument) -> OpenApiDocument:
    """Add what all operations have in common, and return the same document."""
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


def _operations(document: Schema) -> Iterator[tuple[str, Schema]]:
    """Yield the operations with their methods. One that PATCH and PUT share comes twice."""
    for methods in document["paths"].values():
        yield from methods.items()


def _error_response(status: int, detail: str) -> Schema:
    content = {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    headers = {401: WWW_AUTHENTICATE_HEADER, 503: RETRY_AFTER_HEADER}.get(status)
    return {"description": detail, "content": content} | ({"headers": headers} if headers else {})


def _expected_errors(method: str, operation: Schema) -> set[int]:
    expected = {400, 404, 422, 500, 503}  # 404 also when X-Tenant or host are not the token's
    expected |= {401, 403} if operation.get("security") else set()
    expected |= {409, 411} if method != "get" else set()
    expected |= {412} if method != "get" and operation.get("security") else set()
    expected |= {413, 415} if "requestBody" in operation else set()
    return expected


def _describe_read(document: Schema, operation: Schema) -> None:
    if "version" not in _properties(document, operation["responses"].get(200, {})):
        return
    operation.setdefault("parameters", []).append(IF_NONE_MATCH_PARAMETER)
    operation["responses"][200]["headers"] = ETAG_HEADER
    operation["responses"][304] = {
        "description": "Not changed: the object still has the ETag that was sent.",
        "headers": ETAG_HEADER,
    }


def _describe_write(document: Schema, operation: Schema) -> None:
    """Describe headers and, for operations that need credentials, preconditions and dry runs.

    Ninja describes PATCH and PUT of one function by the same dict, which is completed only once.
    """
    responses = operation["responses"]
    if "id" in _properties(document, responses.get(201, {})):
        responses[201]["headers"] = LOCATION_HEADER
    parameters = operation.setdefault("parameters", [])
    if not operation.get("security") or IF_MATCH_PARAMETER in parameters:
        return
    parameters += [
        DRY_RUN_PARAMETER,
        IDEMPOTENCY_KEY_PARAMETER,
        IF_MATCH_PARAMETER,
        REASON_PARAMETER,
        ON_BEHALF_OF_PARAMETER,
    ]
    if 200 in responses:
        content = responses[200]["content"]["application/json"]
        content["schema"] = {"anyOf": [content["schema"], DRY_RUN_REF]}
        responses[200]["description"] += "; a DryRun with dry_run=true."
    else:
        responses[200] = DRY_RUN_RESPONSE


def _properties(document: Schema, response: Schema) -> Schema:
    """Return the properties of the schema that a response refers to; none without a reference."""
    schema = response.get("content", {}).get("application/json", {}).get("schema", {})
    name = schema.get("$ref", "").rpartition("/")[2]
    properties: Schema = document["components"]["schemas"].get(name, {}).get("properties", {})
    return properties


def _give_put_its_own_id(document: Schema) -> None:
    for methods in document["paths"].values():
        if "put" in methods:  # ninja uses the same dict for PATCH and PUT
            name = methods["put"]["operationId"].replace("update_", "put_")
            methods["put"] = methods["put"] | {"operationId": name}


def _remove_unused_schemas(document: Schema) -> None:
    schemas = document["components"]["schemas"]
    used: set[str] = set()
    text = json.dumps([document["paths"], document["components"]["responses"]], default=str)
    while newly_used := {n for n in schemas.keys() - used if f'schemas/{n}"' in text}:
        used |= newly_used
        text += json.dumps([schemas[n] for n in newly_used], default=str)
    for name in schemas.keys() - used:
        del schemas[name]


FIELD_PROBLEM = {
    "type": "object",
    "title": "FieldProblem",
    "description": "One error. One or more properties say what it is about.",
    "required": ["code", "detail"],
    "properties": {
        "pointer": {"type": "string", "description": "JSON pointer to a field of the body."},
        "parameter": {
            "type": "string",
            "description": "Name of the query, path or header parameter.",
        },
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "yours": {"description": "412: the value that was sent."},
        "theirs": {"description": "412: the value that is stored now."},
        "base": {"description": "412: the value in the version that If-Match names."},
        "task_id": {"type": "integer", "description": "The task that is open."},
        "project_id": {"type": "integer", "description": "The project that has no other owner."},
        "kind": {
            "type": "string",
            "description": "The type of the objects that the user owns, in the plural.",
        },
        "count": {"type": "integer", "description": "How many objects of this type the user owns."},
        "line": {"type": "integer", "description": "Line of the CSV file. The first is 1."},
        "column": {"type": ["string", "null"], "description": "Column of the CSV file."},
        "event_id": {"type": "integer", "description": "The event that cannot be undone."},
        "subject": {
            "type": "object",
            "description": "The object that the event is about.",
            "required": ["type", "id"],
            "properties": {"type": {"type": "string"}, "id": {"type": "integer"}},
        },
        "field": {"type": ["string", "null"], "description": "Field of the subject."},
    },
}
PROBLEM = {
    "type": "object",
    "title": "Problem",
    "description": "Problem details (RFC 9457).",
    "required": ["type", "title", "status", "code", "detail", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "Stable, for programs."},
        "detail": {"type": "string", "description": "A sentence for people that says what to do."},
        "errors": {"type": "array", "items": {"$ref": "#/components/schemas/FieldProblem"}},
        "request_id": {"type": ["string", "null"]},
    },
}


def _parameter(source: str, name: str, description: str, **schema: object) -> Schema:
    """Describe an optional parameter of the query or a header."""
    optional = {"in": source, "name": name, "required": False}
    return optional | {"schema": schema, "description": description}


DRY_RUN_PARAMETER = _parameter(
    "query",
    DRY_RUN,
    "Make the change with all rules and constraints, answer with a DryRun, and roll it back."
    " Nothing is stored: no event, task number or Idempotency-Key. A real call gets other ids and"
    " times.",
    type="boolean",
    default=False,
)
IDEMPOTENCY_KEY_PARAMETER = _parameter(
    "header",
    "Idempotency-Key",
    "A new key for each write, and the same key for its retries. For 24 hours, retries get the"
    " first response, with Idempotency-Replayed: true. Keys belong to a user. Errors are not"
    " stored.",
    type="string",
    minLength=1,
    maxLength=MAX_KEY_LENGTH,
)
IF_MATCH_PARAMETER = _parameter(
    "header",
    "If-Match",
    "The ETag of the version that the change is based on. If another request has since changed one"
    " of the same fields, the answer is 412, with yours, theirs and base in `errors`. Changes of"
    " different fields are merged.",
    type="string",
)
REASON_PARAMETER = _parameter(
    "header",
    REASON_HEADER,
    f"Why the change is made, in one line of at most {MAX_REASON_LENGTH} characters. It is recorded"
    " with every event of the request. Percent-encode % and characters that are not ASCII, as"
    " UTF-8.",
    type="string",
    minLength=1,
)
ON_BEHALF_OF_PARAMETER = _parameter(
    "header",
    ON_BEHALF_OF_HEADER,
    "The user for whom the change is made: an id, or a handle as in @ada. It is recorded with every"
    " event of the request. An agent may name its responsible user, an administrator any active"
    " user; otherwise 403.",
    type="string",
)
IF_NONE_MATCH_PARAMETER = _parameter(
    "header", "If-None-Match", "An ETag that the client has. 304 if it is current.", type="string"
)
DRY_RUN_SCHEMA = {
    "type": "object",
    "title": "DryRun",
    "description": "The result of a write with dry_run=true, which has been rolled back.",
    "required": ["dry_run", "status", "result", "event_count", "events"],
    "properties": {
        "dry_run": {"type": "boolean", "description": "Always true."},
        "status": {
            "type": "integer",
            "description": "The status that the real call would have answered.",
        },
        "result": {
            "description": "The body that the real call would have answered.",
            "type": ["object", "null"],
        },
        "event_count": {"type": "integer"},
        "events": {
            "type": "array",
            "description": "The first 500 events that would have been recorded.",
            "items": {"$ref": "#/components/schemas/EventResponse"},
        },
    },
}
DRY_RUN_REF = {"$ref": "#/components/schemas/DryRun"}
DRY_RUN_RESPONSE = {
    "description": "With dry_run=true.",
    "content": {"application/json": {"schema": DRY_RUN_REF}},
}


def _header(name: str, description: str) -> Schema:
    return {name: {"description": description, "schema": {"type": "string"}}}


ETAG_HEADER = _header("ETag", "The version of the object, for If-None-Match and If-Match.")
LOCATION_HEADER = _header("Location", "The URL of the new object.")
WWW_AUTHENTICATE_HEADER = _header("WWW-Authenticate", "How to authenticate: with a bearer token.")
RETRY_AFTER_HEADER = _header("Retry-After", "Seconds to wait before the next attempt.")
