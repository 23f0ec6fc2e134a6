"""Parts of the OpenAPI document that ninja does not derive from the functions.

Errors, conditional requests, dry runs and headers are the same for all operations, so they are
described here in one place.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from copy import deepcopy

from taskflow.http.components import OpenApiDocument, Schema
from taskflow.http.described_fields import describe_partial_rows
from taskflow.http.described_parts import (
    CLAIM_PARAMETER,
    DRY_RUN_PARAMETER,
    FIELD_PROBLEM,
    HEADERS,
    IDEMPOTENCY_KEY_PARAMETER,
    IF_MATCH_PARAMETER,
    IF_NONE_MATCH_PARAMETER,
    ON_BEHALF_OF_PARAMETER,
    PROBLEM,
    REASON_PARAMETER,
    header_refs,
    optional_header,
)
from taskflow.http.described_preferences import describe_preferences
from taskflow.http.errors import CONTENT_TYPE
from taskflow.http.media_types import MERGE_PATCH

ERRORS = {
    400: ("BadRequest", "The request cannot be parsed."),
    401: ("Unauthenticated", "The credentials are missing, wrong, expired or revoked."),
    403: ("Forbidden", "The object is visible to you, but you are not allowed to do this."),
    404: ("NotFound", "The object does not exist or is not visible to you."),
    408: ("RequestTimeout", "The body did not arrive in time."),
    409: ("Conflict", "The change contradicts what is stored."),
    410: ("Gone", "The event log does not hold the position of the cursor."),
    412: ("PreconditionFailed", "The object has changed since the version in If-Match."),
    411: ("LengthRequired", "The body is sent in chunks, without a Content-Length."),
    413: ("TooLarge", "The body is larger than 1 MiB, or an imported file than 4 MiB."),
    415: ("UnsupportedMedia", "The operation does not take a body of this Content-Type."),
    422: ("Invalid", "A field or parameter has a value that is not allowed. See `errors`."),
    429: (
        "TooManyRequests",
        "A limit is reached. Send the request again after Retry-After seconds.",
    ),
    500: ("Internal", "The server failed. Nothing was changed."),
    503: (
        "Unavailable",
        "The server or its database is busy. Send the request again after Retry-After seconds.",
    ),
    507: ("StorageFull", "The disk of the database is full. Nothing was changed."),
}


# The headers of error responses, besides X-Request-Id.
ERROR_HEADERS: Mapping[int, Schema] = {
    401: header_refs("WWW-Authenticate"),
    409: optional_header("Retry-After"),  # while another request uses the Idempotency-Key
    412: optional_header("ETag"),  # the present one of the object
    429: header_refs("Retry-After"),
    503: header_refs("Retry-After"),
    507: header_refs("Retry-After"),
}


RATE_LIMITS = header_refs("RateLimit", "RateLimit-Policy")


def complete_document(
    document: OpenApiDocument,
    error_codes: Mapping[int, Mapping[str, str]],
    minimal_rows: Collection[str] = (),
) -> OpenApiDocument:
    """Add what all operations have in common, and return the same document.

    `error_codes` are the codes of problems by status, each with a sentence that says when it comes.
    See describe_preferences() for `minimal_rows`.
    """
    document.add_schema_definitions(_schemas(error_codes))
    describe_preferences(document, minimal_rows)
    describe_partial_rows(document)
    components = document["components"]
    components["headers"] = HEADERS
    components["responses"] = {
        name: _error_response(status, detail, error_codes.get(status, {}))
        for status, (name, detail) in ERRORS.items()
    }
    for method, operation in _operations(document):
        if method == "get":
            _describe_read(operation)
        else:
            _describe_write(document, operation)
        _copy_example(document, operation)
        for status in sorted(_expected_errors(method, operation)):
            ref = {"$ref": f"#/components/responses/{ERRORS[status][0]}"}
            operation["responses"].setdefault(status, ref)
        for response in operation["responses"].values():
            if "$ref" not in response:
                common = header_refs("X-Request-Id")
                common |= RATE_LIMITS if operation.get("security") else {}
                response["headers"] = response.get("headers", {}) | common
    _separate_put(document)
    _remove_unused_schemas(document)
    # The index is served with and without a slash at its end.
    document["paths"] = {path.rstrip("/"): methods for path, methods in document["paths"].items()}
    return document


def _schemas(error_codes: Mapping[int, Mapping[str, str]]) -> dict[str, Schema]:
    """Return the components that describe problems, by name."""
    schemas = {"Problem": PROBLEM, "FieldProblem": FIELD_PROBLEM}
    if not error_codes:
        return schemas
    codes = sorted({code for by_code in error_codes.values() for code in by_code})
    problem: Schema = deepcopy(PROBLEM)
    problem["properties"]["code"] = {"$ref": "#/components/schemas/ErrorCode"}
    return schemas | {
        "Problem": problem,
        "ErrorCode": {
            "type": "string",
            "title": "ErrorCode",
            "description": "What is wrong, for programs. A code never changes its meaning.",
            "enum": codes,
        },
    }


def _operations(document: Schema) -> Iterator[tuple[str, Schema]]:
    """Yield the operations with their methods. One that PATCH and PUT share comes twice."""
    for methods in document["paths"].values():
        yield from methods.items()


def _error_response(status: int, detail: str, codes: Mapping[str, str]) -> Schema:
    """Describe the problems of a status, with a list of their codes."""
    content = {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    lines = [f"- `{code}`: {sentence}" for code, sentence in codes.items()]
    return {
        "description": "\n".join([detail, "", *lines]).strip(),
        "headers": header_refs("X-Request-Id") | RATE_LIMITS | ERROR_HEADERS.get(status, {}),
        "content": content,
    }


def _expected_errors(method: str, operation: Schema) -> set[int]:
    expected = {400, 404, 422, 500, 503, 507}  # 404 also when X-Tenant or host are not the token's
    expected |= {401, 403} if operation.get("security") else set()
    expected |= {409, 411} if method != "get" else set()
    expected |= {410} if _reads_events(operation) else set()
    expected |= {429} if method != "get" or operation.get("security") else set()
    expected |= {412} if method != "get" and operation.get("security") else set()
    expected |= {408, 413, 415} if "requestBody" in operation else set()
    return expected


def _reads_events(operation: Schema) -> bool:
    """Return whether the operation has a cursor of the event log as its parameter `after`."""
    return any(parameter.get("name") == "after" for parameter in operation.get("parameters", ()))


def _describe_read(operation: Schema) -> None:
    """Describe the ETag, which all reads have but files and streams."""
    response = operation["responses"].get(200, {})
    content = response.get("content", {})
    if "application/json" not in content:
        return
    operation.setdefault("parameters", []).append(IF_NONE_MATCH_PARAMETER)
    is_always_there = "text/event-stream" not in content
    response["headers"] = header_refs("ETag") if is_always_there else optional_header("ETag")
    operation["responses"][304] = {
        "description": "Not changed: the response still has the ETag that was sent.",
        "headers": header_refs("ETag"),
    }


def _describe_write(document: Schema, operation: Schema) -> None:
    """Describe headers and, for operations that need credentials, preconditions and dry runs.

    Ninja describes PATCH and PUT of one function by the same dict, which is completed only once.
    """
    responses = operation["responses"]
    parameters = operation.setdefault("parameters", [])
    if IF_MATCH_PARAMETER in parameters:
        return
    needs_credentials = bool(operation.get("security"))
    for status, response in responses.items():
        if status < 300:
            headers = _headers_of_write(document, status, response)
            response["headers"] = headers | response.get("headers", {})
            if needs_credentials:
                response["headers"] |= header_refs("Idempotency-Replayed", "Dry-Run")
    if not needs_credentials:
        return
    parameters += [
        DRY_RUN_PARAMETER,
        IDEMPOTENCY_KEY_PARAMETER,
        IF_MATCH_PARAMETER,
        REASON_PARAMETER,
        ON_BEHALF_OF_PARAMETER,
        CLAIM_PARAMETER,
    ]


def _headers_of_write(document: Schema, status: int, response: Schema) -> Schema:
    """Return the headers of a successful write. They are optional: a dry run has none of them."""
    headers: Schema = {}
    if _is_versioned(document, response):
        headers |= optional_header("ETag")
    if status == 201 and "id" in _properties(document, response):
        headers |= optional_header("Location")
    return headers


def _is_versioned(document: Schema, response: Schema) -> bool:
    """Return whether the response is an object that has an ETag: one with a version number."""
    version: Schema = _properties(document, response).get("version", {})
    return version.get("type") == "integer"


def _properties(document: Schema, response: Schema) -> Schema:
    """Return the properties of the schema that a response refers to; none without a reference."""
    properties: Schema = _component_of(document, response).get("properties", {})
    return properties


def _component_of(document: Schema, part: Schema) -> Schema:
    """Return the component that the JSON of a body or response refers to; {} without one."""
    schema = part.get("content", {}).get("application/json", {}).get("schema", {})
    name = schema.get("$ref", "").rpartition("/")[2]
    component: Schema = document["components"]["schemas"].get(name, {})
    return component


def _copy_example(document: Schema, operation: Schema) -> None:
    """Show the first example of a body's schema as the example of the request."""
    body = operation.get("requestBody", {})
    for content in body.get("content", {}).values():
        if "allOf" in content["schema"]:  # pydantic wraps the reference of an optional body
            (content["schema"],) = content["schema"]["allOf"]
    if examples := _component_of(document, body).get("examples"):
        body["content"]["application/json"]["example"] = examples[0]


def _separate_put(document: Schema) -> None:
    """Give PUT its own operationId, and no merge patch."""
    for methods in document["paths"].values():
        if "put" in methods:  # ninja uses the same dict for PATCH and PUT
            name = methods["put"]["operationId"].replace("update_", "put_")
            put = methods["put"] = methods["put"] | {"operationId": name}
            content = {t: c for t, c in put["requestBody"]["content"].items() if t != MERGE_PATCH}
            put["requestBody"] = put["requestBody"] | {"content": content}


def _remove_unused_schemas(document: Schema) -> None:
    schemas = document["components"]["schemas"]
    used: set[str] = set()
    text = json.dumps([document["paths"], document["components"]["responses"]], default=str)
    while newly_used := {n for n in schemas.keys() - used if f'schemas/{n}"' in text}:
        used |= newly_used
        text += json.dumps([schemas[n] for n in newly_used], default=str)
    for name in schemas.keys() - used:
        del schemas[name]
