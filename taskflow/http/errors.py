"""
Everything TaskFlow refuses, and how a refusal looks on the wire (RFC 9457).

* Problem
  - BadRequest        400   cannot be read at all
    - InvalidCursor   400
  - Unauthenticated   401   we do not know who you are
  - Forbidden         403   you can see it, but may not do this
  - NotFound          404   no such thing, or not yours to know about
  - MethodNotAllowed  405
  - Conflict          409   it clashes with what is there
  - LengthRequired    411
  - PreconditionFailed 412  it is no longer as you have seen it
  - TooLarge          413
  - UnsupportedMedia  415
  - Invalid           422   can be read, but not accepted
  - Internal          500   our fault
  - Unavailable       503   the database is away; try again
    - Contended       503   others change the same rows; the server has tried three times
    - ReadOnly        503   the database accepts only reads

Actions and queries raise these; nobody below the API builds a response.
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
from django.http import HttpRequest, HttpResponse

CONTENT_TYPE = "application/problem+json"
log = logging.getLogger("taskflow.errors")


class Problem(Exception):
    """A refusal the caller can act on.

    `detail` is one sentence for a person. `errors` names single fields:
    [{"pointer": "#/title", "code": "…", "detail": "…"}] or {"parameter": "status", …}.
    `headers` go onto the answer.
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

    def below(self, pointer: str) -> Self:
        """The same, of a part of the body: every pointer begins with `pointer`, as in #/tasks/3."""
        moved = copy(self)
        moved.detail = f"{pointer}: {self.detail}"
        moved.errors = [
            {**error, "pointer": pointer + str(error.get("pointer", "#")).removeprefix("#")}
            for error in self.errors
        ] or [{"pointer": pointer, "code": self.code, "detail": self.detail}]
        return moved

    def as_dict(self, request_id: str | None = None) -> dict[str, Any]:
        body: dict[str, Any] = {
            "type": f"urn:taskflow:problem:{self.code}",
            "title": self.status.phrase,
            "status": self.status.value,
            "code": self.code,
            "detail": self.detail,
        }
        if self.errors:
            body["errors"] = self.errors
        return body | {"request_id": request_id}

    def as_response(self, request: HttpRequest) -> HttpResponse:
        body = self.as_dict(getattr(request, "request_id", None))
        response = HttpResponse(
            json.dumps(body, ensure_ascii=False, default=str),
            status=self.status,
            content_type=CONTENT_TYPE,
            headers=self.headers,
        )
        response.problem = self  # type: ignore[attr-defined]
        return response

    def as_page(self, request: HttpRequest) -> HttpResponse:
        """The response for a browser: the sentence alone."""
        response = self.as_response(request)
        response.content = self.detail.encode()
        response["Content-Type"] = "text/plain; charset=utf-8"
        return response


def merge(problems: Iterable[Problem]) -> Problem:
    """One refusal for several: the first, with the errors of all."""
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
        """One field of the body is wrong; `name` is its path, as in `due_on` or `tags/0`."""
        return cls(detail, errors=[{"pointer": f"#/{name}", "code": code, "detail": detail}])

    @classmethod
    def parameter(cls, name: str, detail: str, code: str = "invalid") -> Invalid:
        """One query parameter is wrong."""
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
    """The transaction cannot go on, but would succeed if it were run again from its start.

    `http.contention` runs it again, so that a caller sees this only after several attempts.
    """

    code = "contended"

    def __init__(
        self, detail: str = "Others are changing the same rows. Send the request again shortly."
    ) -> None:
        super().__init__(detail)


class ReadOnly(Unavailable):
    """The whole database accepts only reads: a standby, or a server in maintenance."""

    code = "read_only"

    def __init__(
        self, detail: str = "The database accepts only reads at the moment. Try again shortly."
    ) -> None:
        super().__init__(detail)


BY_STATUS: dict[int, tuple[type[Problem], str]] = {
    400: (BadRequest, "The request cannot be read. Check the Host header and the URL."),
    403: (Forbidden, "You may not do this."),
    404: (NotFound, "There is nothing at this address. See /api/v1/docs."),
    405: (MethodNotAllowed, "This address does not know the method. See the Allow header."),
    413: (TooLarge, "The body is larger than 1 MiB. Send less at a time."),
    500: (Internal, "Something broke on our side, and nothing was changed. Quote the request id."),
}


def problem_of_response(response: HttpResponse) -> Problem | None:
    """The refusal that a response was made of."""
    return getattr(response, "problem", None)


def problem_of_status(status: int, headers: Mapping[str, str] | None = None) -> Problem:
    """What stands for a plain error page of the framework."""
    kind, detail = BY_STATUS.get(status, (Internal, BY_STATUS[500][1]))
    return kind(detail, headers=headers)


# ---- what a failing statement means to the caller -----------------------------------------------


# Unavailable and its kin by SQLSTATE, or by the class that its first two characters name. Django's
# exception classes are no help: psycopg makes an InternalError of 25006. See
# https://www.postgresql.org/docs/current/errcodes-appendix.html
BY_SQLSTATE: Mapping[str, Callable[[], Unavailable]] = {
    "08": Unavailable,  # the connection is lost, or cannot be made
    "25006": ReadOnly,
    "25P03": Unavailable,  # idle_in_transaction_session_timeout
    "25P04": Unavailable,  # transaction_timeout
    # A prepared statement is not as the server knows it: see taskflow.db.postgresql.session.
    "26000": Contended,
    "42P05": Contended,
    "40001": Contended,  # serialization failure; on a standby, a conflict with recovery
    "40P01": Contended,  # deadlock
    "53": partial(Unavailable, "The database has no room for this now. Try again shortly."),
    "55P03": partial(Unavailable, "Others hold these rows for too long. Try again shortly."),
    "57014": partial(Unavailable, "The database took too long for this. Try again shortly."),
    "57P": Unavailable,  # it is shutting down, or starting up
    "58": Unavailable,  # it cannot reach its files
}


def sqlstate_of(error: BaseException) -> str:
    """PostgreSQL's five characters for what failed; empty when it named none, and on SQLite."""
    return getattr(error, "sqlstate", None) or getattr(error.__cause__, "sqlstate", None) or ""


def is_contended(error: BaseException) -> bool:
    """Whether the transaction that failed would succeed if it were run again from its start."""
    if isinstance(error, DatabaseError):
        return isinstance(_problem_of_sqlstate(error), Contended)
    return isinstance(error, Contended)


def problem_of_database(error: DatabaseError) -> Problem:
    """The refusal behind a database error. A constraint speaks by its violation_error_message."""
    if problem := _problem_of_sqlstate(error):
        return problem
    if str(error) == "attempt to write a readonly database":  # SQLite
        return ReadOnly()
    if isinstance(error, IntegrityError):
        return _problem_of_constraint(error)
    if isinstance(error, DataError):
        return Invalid("A value is out of the range that can be stored.")
    is_bug = str(error).startswith(
        "no such "
    )  # SQLite's word for a table or column that is missing
    if isinstance(error, OperationalError | InterfaceError) and not is_bug:
        return Unavailable()
    return Internal(BY_STATUS[500][1])


def _problem_of_sqlstate(error: DatabaseError) -> Unavailable | None:
    state = sqlstate_of(error)
    for known in (state, state[:3], state[:2]):
        if known in BY_SQLSTATE:
            return BY_SQLSTATE[known]()
    return None


def _problem_of_constraint(error: IntegrityError) -> Problem:
    constraint = _violated(error)
    if constraint is None and "unique" in str(error).lower():  # a unique_together
        return Conflict("It is there already.", code="taken")
    if not isinstance(constraint, UniqueConstraint | CheckConstraint):  # a foreign key
        return Conflict("It points at something that is gone, or something still points at it.")
    is_taken = isinstance(constraint, UniqueConstraint)
    detail = str(constraint.get_violation_error_message())
    return Conflict(detail, code="taken") if is_taken else Invalid(detail)


def answer_database_error(request: HttpRequest, error: DatabaseError) -> HttpResponse:
    """The refusal as a response."""
    problem = problem_of_database(error)
    log_database_error(request, error, problem)
    return problem.as_response(request)


def log_database_error(request: HttpRequest, error: Exception, problem: Problem) -> None:
    """Log what is no fault of the caller's, with its trace."""
    if problem.status >= 500 and not isinstance(problem, Contended):  # logged when it is run again
        log.error("database error", exc_info=error, extra=trace_of(request))


def trace_of(request: HttpRequest) -> dict[str, object]:
    return {"request_id": getattr(request, "request_id", None), "path": request.path}


def _violated(error: IntegrityError) -> BaseConstraint | None:
    """PostgreSQL names the constraint; SQLite lists the columns of a unique key instead."""
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
