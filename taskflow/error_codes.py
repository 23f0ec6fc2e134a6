"""The codes of all problems, by status, with a sentence that says when each of them comes.

The OpenAPI document lists them. A code never changes its meaning.
"""

from __future__ import annotations

from collections.abc import Mapping

ERROR_CODES: Mapping[int, Mapping[str, str]] = {
    400: {
        "bad_request": "The request, its host or its URL cannot be parsed.",
        "malformed_json": "The body is not one JSON object in UTF-8.",
        "invalid_cursor": "The cursor is not one of this list with these filters in this order.",
        "bad_etag": "If-Match has no ETag in double quotes.",
        "bad_idempotency_key": "The Idempotency-Key has a wrong length or other characters.",
        "bad_reason": "X-Reason is not one line, or is not percent-encoded.",
        "bad_on_behalf_of": "X-On-Behalf-Of is neither an id nor a handle.",
    },
    401: {"unauthenticated": "The credentials are missing, wrong, expired or revoked."},
    403: {
        "forbidden": "Your role does not allow it.",
        "insufficient_scope": "The scope or the projects of the token do not allow it.",
        "csrf_failed": "The session of a browser was sent without its X-CSRFToken.",
    },
    404: {"not_found": "The object or URL does not exist, or is not visible to you."},
    405: {"method_not_allowed": "The URL does not support the method; see the header Allow."},
    409: {
        "conflict": "The change contradicts what is stored.",
        "taken": "Another object has the same unique value.",
        "open_work": "Subtasks or blockers are open; `errors` lists them.",
        "parent_done": "The parent of the open task is done.",
        "project_archived": "The project is archived. Make it active first.",
        "cycle": "The task would be below itself, or would block itself.",
        "parent_in_trash": "The parent of the task is in the trash.",
        "in_trash": "The task or project to which the object belongs is in the trash.",
        "owns_things": "The user owns objects; `errors` counts them by type.",
        "no_other_owner": "Projects have no other owner; `errors` lists them.",
        "active": "The user is still active.",
        "cannot_undo": "Others have changed the same fields since; `errors` lists them.",
        "in_progress": "The first request with this Idempotency-Key is still running.",
    },
    411: {"length_required": "The body is sent in chunks, without a Content-Length."},
    412: {
        "changed_since": "Others have changed the same fields since the version in If-Match.",
        "precondition_failed": "If-Match has no ETag of an object that the request changes.",
    },
    413: {"too_large": "The body is larger than 1 MiB, or an imported file than 4 MiB."},
    415: {"unsupported_media_type": "The Content-Type or its charset is not supported."},
    422: {
        "validation_failed": "Fields or parameters have values that are not allowed.",
        "invalid": "A value is not allowed by what is stored.",
        "unexpected_body": "The operation takes no body, and one was sent.",
        "too_many": "The request has, or selects, more than the limit.",
        "bad_rows": "Cells of the imported file are refused; `errors` lists them.",
        "idempotency_key_reused": "The Idempotency-Key was used for another request.",
    },
    500: {"internal_error": "The server failed. Nothing was changed."},
    503: {
        "unavailable": "The database does not answer, or takes too long.",
        "contended": "Other requests change the same rows; three attempts have failed.",
        "read_only": "The database accepts only reads at the moment.",
    },
}
