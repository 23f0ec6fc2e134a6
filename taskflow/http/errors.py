"""
The problems that TaskFlow reports, and their form in a response (RFC 9457).

* Problem
  - BadRequest        400   the request cannot be parsed
    - InvalidCursor   400
  - Unauthenticated   401   credentials are missing or invalid
  - Forbidden         403   the object is visible, but this is not allowed
  - NotFound          404   the object does not exist or is not visible
  - MethodNotAllowed  405
  - Conflict          409   the change contradicts what is stored
  - LengthRequired    411
  - PreconditionFailed 412  the object has changed since the version in If-Match
  - TooLarge          413
  - UnsupportedMedia  415
  - Invalid           422   the request can be parsed, but a value is not allowed
  - Internal          500   a fault of the server
  - Unavailable       503   the database cannot be reached; the request can be sent again
    - Contended       503   other requests change the same rows; three attempts have failed
    - ReadOnly        503   the database accepts only reads

Actions and queries raise these exceptions. Only the API turns them into responses.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from functools import partial
from http import HTTPStatus
from typing import Any, ClassVar, Self

from django.apps import apps
from django.db import DataError, IntegrityError, InterfaceError, OperationalError
from django.db import Error as DatabaseError
from django.db.models import CheckConstraint, UniqueConstraint
from django.db.models.constraints import BaseConstraint
from django.http import HttpResponse

from taskflow.http.request import Request

CONTENT_TYPE = "application/problem+json"
log = logging.getLogger("taskflow.errors")


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
        moved.detail = f"{pointer}: {self.detail}"
        moved.errors = [
            {**error, "pointer": pointer + str(error.get("pointer", "#")).removeprefix("#")}
            for error in self.errors
        ] or [{"pointer": pointer, "code": self.code, "detail": self.detail}]
        return moved

    def as_dict(self, request_id: str | None = None) -> dict[str, object]:
        """Return the problem document. `request_id` is None where there is no request."""
        body: dict[str, object] = {
            "type": f"urn:taskflow:problem:{self.code}",
            "title": self.status.phrase,
            "status": self.status.value,
            "code": self.code,
            "detail": self.detail,
        }
        if self.errors:
            body["errors"] = self.errors
        return body | {"request_id": request_id}

    def as_response(self, request: Request) -> HttpResponse:
        """Return the problem document as a response to the request."""
        return ProblemResponse(self, request.request_id or None)

    def as_page(self, request: Request) -> HttpResponse:
        """Return a response for a browser: the detail as plain text."""
        response = self.as_response(request)
        response.content = self.detail.encode()
        response["Content-Type"] = "text/plain; charset=utf-8"
        return response


class ProblemResponse(HttpResponse):
    """A problem document, with the problem that it was made of."""

    def __init__(self, problem: Problem, request_id: str | None) -> None:
        super().__init__(
            json.dumps(problem.as_dict(request_id), ensure_ascii=False, default=str),
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

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"WWW-Authenticate": 'Bearer realm="taskflow"'})


class Forbidden(Problem):
    status = HTTPStatus.FORBIDDEN
    code = "forbidden"


class NotFound(Problem):
    status = HTTPStatus.NOT_FOUND
    code = "not_found"


class MethodNotAllowed(Problem):
    status = HTTPStatus.METHOD_NOT_ALLOWED
    code = "method_not_allowed"


class Conflict(Problem):
    status = HTTPStatus.CONFLICT
    code = "conflict"


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

    @classmethod
    def parameter(cls, name: str, detail: str, code: str = "invalid") -> Invalid:
        """Return a problem of one query parameter."""
        return cls(detail, errors=[{"parameter": name, "code": code, "detail": detail}])


class Internal(Problem):
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    code = "internal_error"


class Unavailable(Problem):
    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "unavailable"

    def __init__(self, detail: str = "The database does not answer. Try again shortly.") -> None:
        super().__init__(detail, headers={"Retry-After": "1"})


class Contended(Unavailable):
    """The transaction was rolled back, and would succeed if it were run again from its start.

    taskflow/http/contention.py runs it again. A client gets this only after several attempts.
    """

    code = "contended"

    def __init__(
        self,
        detail: str = "Other requests are changing the same rows. Send the request again shortly.",
    ) -> None:
        super().__init__(detail)


class ReadOnly(Unavailable):
    """The whole database accepts only reads: a standby server, or one in maintenance."""

    code = "read_only"

    def __init__(
        self, detail: str = "The database accepts only reads at the moment. Try again shortly."
    ) -> None:
        super().__init__(detail)


PROBLEM_BY_STATUS: dict[int, tuple[type[Problem], str]] = {
    400: (BadRequest, "The request cannot be parsed. Check the Host header and the URL."),
    403: (Forbidden, "You are not allowed to do this."),
    404: (NotFound, "There is nothing at this URL. See /api/v1/docs."),
    405: (
        MethodNotAllowed,
        "This URL does not support the method. The Allow header lists those that it supports.",
    ),
    413: (TooLarge, "The body is larger than 1 MiB. Send it in several requests."),
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


# ---- database errors ----------------------------------------------------------------------------


# Problems by SQLSTATE, or by its first two or three characters. Django's exception classes are not
# precise enough: SQLSTATE 25006 (read-only transaction) is an InternalError. See
# https://www.postgresql.org/docs/current/errcodes-appendix.html
PROBLEM_BY_SQLSTATE: Mapping[str, Callable[[], Unavailable]] = {
    "08": Unavailable,  # the connection is lost, or cannot be made
    "25006": ReadOnly,
    "25P03": Unavailable,  # idle_in_transaction_session_timeout
    "25P04": Unavailable,  # transaction_timeout
    # The server and the connection disagree about a prepared statement: see taskflow/db.
    "26000": Contended,
    "42P05": Contended,
    "40001": Contended,  # serialization failure; on a standby, a conflict with recovery
    "40P01": Contended,  # deadlock
    "53": partial(
        Unavailable, "The database has no resources left for this request. Try again shortly."
    ),
    "55P03": partial(
        Unavailable, "Other requests lock these rows for too long. Try again shortly."
    ),
    "57014": partial(
        Unavailable, "The statement took too long. Try again shortly, or ask for less."
    ),
    "57P": Unavailable,  # the server is shutting down or starting up
    "58": Unavailable,  # the server cannot access its files
}


def sqlstate_of(error: BaseException) -> str:
    """Return the SQLSTATE of a database error; "" on SQLite, and if PostgreSQL sent none."""
    return getattr(error, "sqlstate", None) or getattr(error.__cause__, "sqlstate", None) or ""


def is_contended(error: BaseException) -> bool:
    """Return whether the failed transaction would succeed if it were run again from its start."""
    if isinstance(error, DatabaseError):
        return isinstance(_problem_of_sqlstate(error), Contended)
    return isinstance(error, Contended)


def problem_of_database_error(error: DatabaseError) -> Problem:
    """Return the problem that a database error means to the client.

    For a violated constraint, its violation_error_message is the detail.
    """
    if problem := _problem_of_sqlstate(error):
        return problem
    if str(error) == "attempt to write a readonly database":  # SQLite
        return ReadOnly()
    if isinstance(error, IntegrityError):
        return _problem_of_constraint(error)
    if isinstance(error, DataError):
        return Invalid("A value is out of the range that can be stored.")
    # SQLite's message for a table or column that does not exist, which is a bug or a missing
    # migration. Sending the request again would not help.
    is_bug = str(error).startswith("no such ")
    if isinstance(error, OperationalError | InterfaceError) and not is_bug:
        return Unavailable()
    return Internal(PROBLEM_BY_STATUS[500][1])


def _problem_of_sqlstate(error: DatabaseError) -> Unavailable | None:
    state = sqlstate_of(error)
    for prefix in (state, state[:3], state[:2]):
        if prefix in PROBLEM_BY_SQLSTATE:
            return PROBLEM_BY_SQLSTATE[prefix]()
    return None


def _problem_of_constraint(error: IntegrityError) -> Problem:
    constraint = _violated_constraint(error)
    if constraint is None and "unique" in str(error).lower():  # a unique_together
        return Conflict("An object with these values exists already.", code="taken")
    if not isinstance(constraint, UniqueConstraint | CheckConstraint):  # a foreign key
        return Conflict("A referenced object no longer exists, or this object is still referenced.")
    is_taken = isinstance(constraint, UniqueConstraint)
    detail = str(constraint.get_violation_error_message())
    return Conflict(detail, code="taken") if is_taken else Invalid(detail)


def respond_to_database_error(request: Request, error: DatabaseError) -> HttpResponse:
    """Log a database error, and return the problem that it means as a response."""
    problem = problem_of_database_error(error)
    log_database_error(request, error, problem)
    return problem.as_response(request)


def log_database_error(request: Request, error: Exception, problem: Problem) -> None:
    """Log a failure of the server with its traceback.

    Not a Contended one, which run_with_retries() has logged.
    """
    if problem.status >= 500 and not isinstance(problem, Contended):
        log.error("database error", exc_info=error, extra=request_log_fields(request))


def request_log_fields(request: Request) -> dict[str, object]:
    """Return the fields by which a line of the log is found from a request."""
    return {"request_id": request.request_id or None, "path": request.path}


def _violated_constraint(error: IntegrityError) -> BaseConstraint | None:
    """Return the constraint that was violated; None if it is not in Meta.constraints.

    PostgreSQL sends its name. SQLite's message lists the columns of a unique constraint instead.
    """
    diagnostics = getattr(error.__cause__, "diag", None)
    text = diagnostics.constraint_name if diagnostics else str(error).partition("failed: ")[2]
    for model in apps.get_models():
        table = model._meta.db_table
        for constraint in model._meta.constraints:
            names = {constraint.name, f"index '{constraint.name}'"}
            if isinstance(constraint, UniqueConstraint) and constraint.fields:
                columns = [model._meta.get_field(n).column for n in constraint.fields]  # type: ignore[union-attr]
                names.add(", ".join(f"{table}.{column}" for column in columns))
            if text in names:
                return constraint
    return None
