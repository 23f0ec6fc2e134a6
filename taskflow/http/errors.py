"""
The problems that TaskFlow reports, and their form in a response (RFC 9457).

* Problem
  - BadRequest        400   the request cannot be parsed
    - InvalidCursor   400
  - Unauthenticated   401   credentials are missing or invalid
  - Forbidden         403   the object is visible, but this is not allowed
  - NotFound          404   the object does not exist or is not visible
  - MethodNotAllowed  405
  - RequestTimeout    408   the body did not arrive in time
  - Conflict          409   the change contradicts what is stored
  - Gone              410   the event log does not hold the position of a cursor
  - LengthRequired    411
  - PreconditionFailed 412  the object has changed since the version in If-Match
  - TooLarge          413
  - UnsupportedMedia  415
  - Invalid           422   the request can be parsed, but a value is not allowed
  - TooManyRequests   429   a limit is reached; the request can be sent again later
    - TooManyAttempts 429   passwords or registrations; this one was not tried
  - Internal          500   a fault of the server
  - Unavailable       503   the database cannot be reached; the request can be sent again
    - Overloaded      503   the server has too many requests; this one was not begun
    - Silent          503   the database has not answered in time
    - Busy            503   the database has no free writer, connection or memory
    - LockTimeout     503   other requests lock the same rows for too long
    - StatementTimeout 503  the database needs too long for the request
    - Contended       503   other requests change the same rows; three attempts have failed
    - ReadOnly        503   the database accepts only reads
    - StorageFull     507   the disk of the database is full

Actions and queries raise these exceptions. Only the API turns them into responses.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from http import HTTPStatus
from typing import Any, ClassVar, Self

from django.http import HttpResponse
from django.utils.translation import gettext, gettext_noop

from taskflow.http.request import Request

CONTENT_TYPE = "application/problem+json"
ERRORS_PAGE = "/api/v1/docs/errors"  # describes every code


class Problem(Exception):
    """A refused request. The base class of everything that becomes a problem document.

    `detail` is a sentence for a person that says what to do. `code` is stable, for programs.
    `errors` describes single fields, as {"pointer": "#/title", "code": "…", "detail": "…"}, or
    parameters, as {"parameter": "status", …}. `headers` are added to the response.
    """

    status: ClassVar[HTTPStatus] = HTTPStatus.BAD_REQUEST
    code: str = "bad_request"

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        errors: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or type(self).code
        self.errors = list(errors)
        self.headers = dict(headers or {})

    def with_pointer_prefix(self, pointer: str) -> Self:
        """Return a copy whose pointers begin with `pointer`, such as #/tasks/3.

        For a problem of one part of a body, of which the code that raised it had only that part.
        """
        moved = copy(self)
        moved.detail = f"{pointer.removeprefix('#/')}: {self.detail}"
        moved.errors = [
            {**error, "pointer": pointer + str(error.get("pointer", "#")).removeprefix("#")}
            for error in self.errors
        ] or [{"pointer": pointer, "code": self.code, "detail": self.detail}]
        return moved

    def as_dict(self, request_id: str | None = None) -> dict[str, object]:
        """Return the problem document. `request_id` is None where there is no request."""
        body: dict[str, object] = {
            "type": f"{ERRORS_PAGE}#{self.code}",
            "title": self.status.phrase,
            "status": self.status.value,
            "code": self.code,
            "detail": self.detail,
        }
        if self.errors:
            body["errors"] = self.errors
        return body | {"request_id": request_id}

    def as_json(self, request_id: str | None) -> str:
        """Return the text of the problem document."""
        return json.dumps(self.as_dict(request_id), ensure_ascii=False, default=str)

    def as_response(self, request: Request) -> HttpResponse:
        """Return the problem document as a response to the request."""
        return ProblemResponse(self, request.request_id or None)

    def as_page(self, request: Request) -> HttpResponse:
        """Return a response for a browser: the detail as plain text."""
        response = self.as_response(request)
        response.content = self.detail.encode()
        response["Content-Type"] = "text/plain; charset=utf-8"
        return response

    def copy(self) -> Self:
        """Return an equal problem. A constant is raised as a copy, because each raise adds to the
        traceback of its object, which would keep every request, with its secrets, in memory.
        """
        return copy(self)


class ProblemResponse(HttpResponse):
    """A problem document, with the problem that it was made of."""

    def __init__(self, problem: Problem, request_id: str | None) -> None:
        super().__init__(
            problem.as_json(request_id),
            status=problem.status,
            content_type=CONTENT_TYPE,
            headers=problem.headers,
        )
        self.problem = problem


def merge_problems(problems: Iterable[Problem]) -> Problem:
    """Return a copy of the first problem with the errors of all. `problems` is not empty."""
    first, *others = problems
    merged = copy(first)
    merged.errors = [error for problem in (first, *others) for error in problem.errors]
    return merged


class BadRequest(Problem):
    pass


class InvalidCursor(BadRequest):
    code = "invalid_cursor"


class Unauthenticated(Problem):
    status = HTTPStatus.UNAUTHORIZED
    code = "unauthenticated"

    def __init__(self, detail: str, *, code: str | None = None) -> None:
        super().__init__(detail, code=code, headers={"WWW-Authenticate": 'Bearer realm="taskflow"'})


class Forbidden(Problem):
    status = HTTPStatus.FORBIDDEN
    code = "forbidden"


class QuotaExceeded(Problem):
    """The tenant would have more rows, or more text, than the installation allows."""

    status = HTTPStatus.FORBIDDEN
    code = "quota_exceeded"

    def __init__(self, quota: str, limit: int, used: int, adding: int) -> None:
        name = quota.replace("_", " ")
        super().__init__(
            f"The quota of {name} is exceeded: the limit is {limit}, {used} are used, and this"
            f" needs {adding} more. Delete {name} permanently, or ask the operator of this"
            " installation for a higher limit."
        )
        self.errors = [
            {
                "code": "quota_exceeded",
                "detail": f"The tenant may have {limit} {name}.",
                "quota": quota,
                "limit": limit,
                "used": used,
            }
        ]

    def without_usage(self) -> Problem:
        """Return the problem for a viewer who may not know how much the tenant uses."""
        (error,) = self.errors
        name = str(error["quota"]).replace("_", " ")
        return Forbidden(
            f"The quota of {name} is exceeded. Delete {name} permanently, or ask an administrator.",
            code=self.code,
            errors=[{"code": self.code, "detail": f"The tenant may have no more {name}."}],
        )


class NotFound(Problem):
    status = HTTPStatus.NOT_FOUND
    code = "not_found"


class MethodNotAllowed(Problem):
    status = HTTPStatus.METHOD_NOT_ALLOWED
    code = "method_not_allowed"


class RequestTimeout(Problem):
    """The body has not arrived in time. The connection is closed."""

    status = HTTPStatus.REQUEST_TIMEOUT
    code = "request_timeout"

    def __init__(self) -> None:
        super().__init__("The body did not arrive in time. Send the request again.")


class Conflict(Problem):
    status = HTTPStatus.CONFLICT
    code = "conflict"


class Gone(Problem):
    status = HTTPStatus.GONE
    code = "cursor_expired"


class LengthRequired(Problem):
    status = HTTPStatus.LENGTH_REQUIRED
    code = "length_required"


class PreconditionFailed(Problem):
    status = HTTPStatus.PRECONDITION_FAILED
    code = "precondition_failed"


class TooLarge(Problem):
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    code = "too_large"


class UnsupportedMedia(Problem):
    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    code = "unsupported_media_type"


class Invalid(Problem):
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    code = "invalid"

    @classmethod
    def field(cls, name: str, detail: str, code: str = "invalid") -> Invalid:
        """Return a problem of one field of the body. `name` is its path: `due_on`, `tags/0`."""
        return cls(detail, errors=[{"pointer": f"#/{name}", "code": code, "detail": detail}])

    def with_pointers(self, prefix: str = "#/") -> Invalid:
        """Return a copy that names fields of a body below `prefix` in place of parameters.

        For values of a body that are read like those of a query string.
        """
        errors = [
            {
                "pointer": prefix + error["parameter"],
                "code": error["code"],
                "detail": error["detail"],
            }
            for error in self.errors
        ]
        return Invalid(self.detail, code=self.code, errors=errors)

    @classmethod
    def parameter(cls, name: str, detail: str, code: str = "invalid") -> Invalid:
        """Return a problem of one query parameter."""
        return cls(detail, errors=[{"parameter": name, "code": code, "detail": detail}])


class TooManyRequests(Problem):
    """A limit is reached. The request can be sent again after Retry-After seconds."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    code = "too_many_requests"

    def __init__(self, detail: str, wait_seconds: int) -> None:
        super().__init__(detail, headers={"Retry-After": str(wait_seconds)})


class TooManyAttempts(TooManyRequests):
    """Too many wrong passwords, or registrations. This one was not tried."""

    code = "too_many_attempts"

    def __init__(self, wait_seconds: int, what: str = "") -> None:
        what = what or gettext_noop("wrong passwords")  # at import, there may be no settings
        super().__init__(
            gettext("There were too many %(what)s. Wait %(seconds)d seconds, then try again.")
            % {"what": gettext(what), "seconds": wait_seconds},
            wait_seconds,
        )


class Internal(Problem):
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    code = "internal_error"


class Unavailable(Problem):
    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "unavailable"

    def __init__(self, detail: str = "The database cannot be reached. Try again shortly.") -> None:
        super().__init__(detail, headers={"Retry-After": "1"})


PROBLEM_BY_STATUS: dict[int, tuple[type[Problem], str]] = {
    400: (BadRequest, "The request cannot be parsed. Check the Host header and the URL."),
    403: (Forbidden, "You are not allowed to do this."),
    404: (NotFound, "There is nothing at this URL. See /api/v1/docs."),
    405: (
        MethodNotAllowed,
        "This URL does not support the method. The Allow header lists those that it supports.",
    ),
    413: (
        TooLarge,
        "The body is larger than 1 MiB, or a file than 4 MiB. Send it in several requests.",
    ),
    500: (Internal, "The server failed, and nothing was changed. Report the request_id."),
}


def problem_of_response(response: HttpResponse) -> Problem | None:
    """Return the problem that a response reports; None for any other response."""
    return response.problem if isinstance(response, ProblemResponse) else None


def problem_of_status(status: int, headers: Mapping[str, str] | None = None) -> Problem:
    """Return the problem for an error response of the framework, by its status code.

    Internal for a status code that is not expected.
    """
    kind, detail = PROBLEM_BY_STATUS.get(status, (Internal, PROBLEM_BY_STATUS[500][1]))
    return kind(detail, headers=headers)


def request_log_fields(request: Request) -> dict[str, object]:
    """Return the fields by which a line of the log is found from a request."""
    return {"request_id": request.request_id or None, "path": request.path}
