"""The problems of database errors, by SQLSTATE and by violated constraint."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial

from django.apps import apps
from django.db import DataError, IntegrityError, InterfaceError, OperationalError
from django.db import Error as DatabaseError
from django.db.models import CheckConstraint, UniqueConstraint
from django.db.models.constraints import BaseConstraint
from django.http import HttpResponse

from taskflow.http.error_causes import cause_of, sqlstate_of
from taskflow.http.errors import (
    PROBLEM_BY_STATUS,
    Conflict,
    Contended,
    Internal,
    Invalid,
    Problem,
    ReadOnly,
    Unavailable,
    request_log_fields,
)
from taskflow.http.request import Request
from taskflow.metrics.definitions import DATABASE_ERRORS

log = logging.getLogger("taskflow.errors")
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
        return Conflict(_describe_duplicate(error), code="taken")
    if not isinstance(constraint, UniqueConstraint | CheckConstraint):  # a foreign key
        return Conflict("A referenced object no longer exists, or this object is still referenced.")
    is_taken = isinstance(constraint, UniqueConstraint)
    detail = str(constraint.get_violation_error_message())
    return Conflict(detail, code="taken") if is_taken else Invalid(detail)


def _describe_duplicate(error: IntegrityError) -> str:
    """Return the sentence for a row that breaks the unique_together of its model."""
    diagnostics = getattr(error.__cause__, "diag", None)
    text = f"{diagnostics.table_name}." if diagnostics else str(error)
    for model in apps.get_models():
        names = [n for fields in model._meta.unique_together for n in fields if n != "tenant"]
        if names and f"{model._meta.db_table}." in text:
            label = model._meta.verbose_name
            return f"There is a {label} with this {' and '.join(names)} already. Change that one."
    return "An object with these values exists already."


def respond_to_database_error(request: Request, error: DatabaseError) -> HttpResponse:
    """Log a database error, and return the problem that it means as a response."""
    problem = problem_of_database_error(error)
    log_database_error(request, error, problem)
    return problem.as_response(request)


def log_database_error(request: Request, error: Exception, problem: Problem) -> None:
    """Count a failure of the database, and log it with its traceback.

    A Contended one is not logged here: run_with_retries() has done it.
    """
    if problem.status >= 500:
        DATABASE_ERRORS.add(1.0, (cause_of(error),))
    if problem.status >= 500 and not isinstance(problem, Contended):
        log.error("database error", exc_info=error, extra=request_log_fields(request))


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
