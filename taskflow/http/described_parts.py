"""The constant parts of the OpenAPI document: problems, dry runs, headers and shared parameters."""

from __future__ import annotations

from taskflow.http.attribution import (
    CLAIM_HEADER,
    MAX_REASON_LENGTH,
    ON_BEHALF_OF_HEADER,
    REASON_HEADER,
)
from taskflow.http.components import Schema
from taskflow.http.preconditions import DRY_RUN, MAX_KEY_LENGTH

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
        "code": {"type": "string", "description": "What is wrong, for programs."},
        "detail": {"type": "string", "description": "What is wrong, as a sentence for people."},
        "yours": {"description": "412: the value that was sent."},
        "theirs": {"description": "412: the value that is stored now."},
        "base": {"description": "412: the value in the version that If-Match names."},
        "task_id": {"type": "integer", "description": "The task that is open, or claimed."},
        "holder": {"type": "string", "description": "Who has claimed the task, as in @bot."},
        "worker": {"type": "string", "description": "The process that has claimed the task."},
        "since": {"type": "string", "description": "When the task was claimed, in UTC."},
        "expires_at": {"type": "string", "description": "When the claim expires, in UTC."},
        "project_id": {"type": "integer", "description": "The project that has no other owner."},
        "kind": {
            "type": "string",
            "description": "The type of the objects that the user owns, in the plural.",
        },
        "count": {"type": "integer", "description": "How many objects of this type the user owns."},
        "quota": {"type": "string", "description": "The quota that is exceeded."},
        "limit": {"type": "integer", "description": "The most that the quota allows."},
        "used": {"type": "integer", "description": "How much of the quota is used."},
        "row": {
            "type": "integer",
            "description": "Row of the imported file, as a spreadsheet numbers it: the names of the"
            " columns are row 1. In a JSON file, the position of the card or issue, from 1.",
        },
        "line": {
            "type": "integer",
            "description": "Line of the imported CSV file in which the row begins. The first is 1.",
        },
        "column": {
            "type": ["string", "null"],
            "description": "Column of the imported file; null for the whole row.",
        },
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
PROBLEM: Schema = {
    "type": "object",
    "title": "Problem",
    "description": "Problem details (RFC 9457).",
    "required": ["type", "title", "status", "code", "detail", "request_id"],
    "properties": {
        "type": {
            "type": "string",
            "format": "uri-reference",
            "description": "Identifies the kind of problem.",
        },
        "title": {"type": "string", "description": "The standard name of the status."},
        "status": {"type": "integer", "description": "The status of the response."},
        "code": {"type": "string", "description": "Stable, for programs."},
        "detail": {"type": "string", "description": "A sentence for people that says what to do."},
        "errors": {
            "type": "array",
            "items": {"$ref": "#/components/schemas/FieldProblem"},
            "description": "The single errors; absent if there are none.",
        },
        "request_id": {
            "type": ["string", "null"],
            "description": "The X-Request-Id of the response. Give it when you report a problem.",
        },
    },
}


def describe_parameter(source: str, name: str, description: str, **schema: object) -> Schema:
    """Describe an optional parameter of the query or a header."""
    optional = {"in": source, "name": name, "required": False}
    return optional | {"schema": schema, "description": description}


DRY_RUN_PARAMETER = describe_parameter(
    "query",
    DRY_RUN,
    "Make the change with all rules and constraints, answer as the real call, and roll it back."
    " Nothing is stored: no event, task number or Idempotency-Key. A real call gets other ids and"
    " times.",
    type="boolean",
    default=False,
)
IDEMPOTENCY_KEY_PARAMETER = describe_parameter(
    "header",
    "Idempotency-Key",
    "A new key for each write, and the same key for its retries. For 24 hours, retries get the"
    " first response, with Idempotency-Replayed: true. Keys belong to a user. Errors are not"
    " stored.",
    type="string",
    minLength=1,
    maxLength=MAX_KEY_LENGTH,
    pattern=r"^[!#-~]+$",
)
IF_MATCH_PARAMETER = describe_parameter(
    "header",
    "If-Match",
    "The ETag of the version that the change is based on. If another request has since changed one"
    " of the same fields, the answer is 412, with yours, theirs and base in `errors`. Changes of"
    " different fields are merged.",
    type="string",
    pattern=r'^((W/)?"[!#-~]*"|\*)$',
)
REASON_PARAMETER = describe_parameter(
    "header",
    REASON_HEADER,
    f"Why the change is made, in one line of at most {MAX_REASON_LENGTH} characters. It is recorded"
    " with every event of the request. Percent-encode % and characters that are not ASCII, as"
    " UTF-8.",
    type="string",
    minLength=1,
    pattern=r"^([ -$&-~]|%[0-9A-Fa-f]{2})+$",
)
ON_BEHALF_OF_PARAMETER = describe_parameter(
    "header",
    ON_BEHALF_OF_HEADER,
    "The user for whom the change is made: an id, or a handle as in @ada. It is recorded with every"
    " event of the request. An agent may name its responsible user, an administrator any active"
    " user; otherwise 403.",
    type="string",
    pattern=r"^(@[A-Za-z0-9][A-Za-z0-9_.-]{0,49}|[1-9][0-9]{0,18})$",
)
CLAIM_PARAMETER = describe_parameter(
    "header",
    CLAIM_HEADER,
    "The id of your open claim. An agent needs it to change a task that it has claimed, or a"
    " comment on it; otherwise 409 `claimed`. 409 `claim_lost` if the claim is not open.",
    type="string",
    pattern=r"^[1-9][0-9]{0,18}$",
)
IF_NONE_MATCH_PARAMETER = describe_parameter(
    "header",
    "If-None-Match",
    "An ETag that the client has. 304 if the response is still the same.",
    type="string",
    pattern=r'^((W/)?"[!#-~]*"|\*)$',
)


def _header(description: str, *, required: bool = True, **schema: object) -> Schema:
    return {
        "description": description,
        "required": required,
        "schema": schema or {"type": "string"},
    }


# By name. Headers that only some responses of a status have are not required.
HEADERS = {
    "X-Request-Id": _header(
        "The id of the request, which is in its log lines and events: the one that was sent as"
        " X-Request-Id, or a new one."
    ),
    "ETag": _header(
        "For If-None-Match. The ETag of an object contains its version and is also for If-Match;"
        " other reads have a digest of the body."
    ),
    "Location": _header("The URL of the new object, which GET answers."),
    "Retry-After": _header("Seconds to wait before the next attempt.", type="integer"),
    "RateLimit": _header(
        "How many requests are left (`r`), and after how many seconds all are allowed again (`t`),"
        ' for the token and for the tenant: `"token";r=598;t=1, "tenant";r=2990;t=1`. Approximate:'
        " each worker process counts its own. Only if this installation has such limits. See"
        " draft-ietf-httpapi-ratelimit-headers.",
        required=False,
    ),
    "RateLimit-Policy": _header(
        "How many requests (`q`) are allowed in how many seconds (`w`):"
        ' `"token";q=600;w=60, "tenant";q=3000;w=60`. Sent together with RateLimit.',
        required=False,
    ),
    "WWW-Authenticate": _header("How to authenticate: with a bearer token."),
    "Dry-Run": _header(
        "`true` if nothing was changed, because of `dry_run`. Such a response has no Location and"
        " no ETag.",
        required=False,
    ),
    "Preference-Applied": _header(
        "The preference of the header Prefer that was followed, such as `return=minimal`.",
        required=False,
    ),
    "Idempotency-Replayed": _header(
        "`true` if this is the stored response to the first request with the same Idempotency-Key.",
        required=False,
    ),
}


def header_refs(*names: str) -> Schema:
    """Return references to these headers, by name."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def optional_header(name: str) -> Schema:
    """Return a header that only some of the responses have, by name."""
    return {name: HEADERS[name] | {"required": False}}
