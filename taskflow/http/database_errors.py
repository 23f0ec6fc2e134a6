"""The problems of database errors, by SQLSTATE and by violated constraint."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path

from django.apps import apps
from django.db import DataError, IntegrityError, InterfaceError, OperationalError, connection
from django.db import Error as DatabaseError
from django.db.models import CheckConstraint, UniqueConstraint
from django.db.models.constraints import BaseConstraint
from django.http import HttpResponse
from django.utils.translation import gettext_noop

from taskflow.db.causes import SILENT, WRITER_HELD
from taskflow.http.error_causes import cause_of, sqlstate_of
from taskflow.http.errors import (
    PROBLEM_BY_STATUS,
    Conflict,
    Internal,
    Invalid,
    Problem,
    Unavailable,
    request_log_fields,
)
from taskflow.http.request import Request
from taskflow.http.unavailable import (
    Busy,
    Contended,
    LockTimeout,
    ReadOnly,
    Silent,
    StatementTimeout,
    StorageFull,
    TooMuch,
)
from taskflow.metrics.definitions import DATABASE_ERRORS

log = logging.getLogger("taskflow.errors")
# Problems by SQLSTATE, or by its first two or three characters. Django's exception classes are not
# precise enough: SQLSTATE 25006 (read-only transaction) is an InternalError. See
# https://www.postgresql.org/docs/current/errcodes-appendix.html
PROBLEM_BY_SQLSTATE: Mapping[str, type[Unavailable]] = {
    "08": Unavailable,  # the connection is lost, or cannot be made
    SILENT: Silent,
    "22023": Unavailable,  # a role or setting of the transaction does not exist any more
    "25006": ReadOnly,
    "25P03": Unavailable,  # idle_in_transaction_session_timeout
    "25P04": StatementTimeout,  # transaction_timeout
    # The server and the connection disagree about a prepared statement: see taskflow/db.
    "26000": Contended,
    "42P05": Contended,
    "40001": Contended,  # serialization failure; on a standby, a conflict with recovery
    "40P01": Contended,  # deadlock
    "53": Busy,  # too many connections, or no memory
    "53100": StorageFull,
    "55P03": LockTimeout,
    "57014": StatementTimeout,
    "57P": Unavailable,  # the server is shutting down or starting up
    "58": Unavailable,  # the server cannot access its files
}
# By how the message of SQLite begins. See https://www.sqlite.org/rescode.html
PROBLEM_BY_SQLITE_MESSAGE: Mapping[str, type[Unavailable]] = {
    "attempt to write a readonly database": ReadOnly,
    "database is locked": Busy,
    "database table is locked": Busy,
    "database or disk is full": StorageFull,
    "interrupted": StatementTimeout,
    WRITER_HELD: TooMuch,
}
SQLITE_IO_ERROR = "disk I/O error"
FULL_BELOW_BYTES = 1_048_576  # of free space: SQLite needs space for its log and its shared memory


def is_contended(error: BaseException) -> bool:
    """Return whether the failed transaction would succeed if it were run again from its start."""
    if isinstance(error, DatabaseError):
        return isinstance(_problem_of_sqlstate(error), Contended)
    return isinstance(error, Contended)


def is_unavailable(error: DatabaseError) -> bool:
    """Return whether the database, not the request or the program, is the cause of the error."""
    return isinstance(problem_of_database_error(error), Unavailable)


def problem_of_database_error(error: DatabaseError) -> Problem:
    """Return the problem that a database error means to the client.

    For a violated constraint, its violation_error_message is the detail.
    """
    if problem := _problem_of_sqlstate(error) or _problem_of_sqlite(error):
        return problem
    if isinstance(error, IntegrityError):
        return _problem_of_constraint(error)
    if isinstance(error, DataError):
        return Invalid(gettext_noop("A value is out of the range that can be stored."))
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
            problem = PROBLEM_BY_SQLSTATE[prefix]()
            problem.__cause__ = error  # by which a retry is counted
            return problem
    return None


def _problem_of_sqlite(error: DatabaseError) -> Unavailable | None:
    if not isinstance(error, OperationalError) or connection.vendor != "sqlite":
        return None
    text = str(error)
    if text == SQLITE_IO_ERROR and _is_disk_full():
        return StorageFull()
    kinds = (kind for start, kind in PROBLEM_BY_SQLITE_MESSAGE.items() if text.startswith(start))
    return next((kind() for kind in kinds), None)


def _is_disk_full() -> bool:
    """Return whether the file system of the SQLite file is full. SQLite does not always say so."""
    folder = Path(str(connection.settings_dict["NAME"])).parent
    return shutil.disk_usage(folder).free < FULL_BELOW_BYTES


def _problem_of_constraint(error: IntegrityError) -> Problem:
    constraint = _violated_constraint(error)
    if constraint is None and "unique" in str(error).lower():  # a unique_together
        return Conflict(_describe_duplicate(error), code="taken")
    if not isinstance(constraint, UniqueConstraint | CheckConstraint):  # a foreign key
        return Conflict(
            gettext_noop(
                "A referenced object no longer exists, or this object is still referenced."
            )
        )
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
    """Report a database error, and return the problem that it means as a response."""
    return report_database_error(request, error).as_response(request)


def report_database_error(request: Request, error: DatabaseError) -> Problem:
    """Return the problem that a database error means, count it, and write it to the log.

    Every database error that a client gets passes through here. A cause that has a code of its own
    takes one line without a traceback, which would show no more than the code does.
    """
    problem = problem_of_database_error(error)
    fields = request_log_fields(request)
    if problem.status >= 500 and not isinstance(problem, Contended):
        cause = "disk_full" if isinstance(problem, StorageFull) else cause_of(error)
        DATABASE_ERRORS.add(1.0, (cause,))
    if isinstance(problem, Internal):
        log.error("database error", exc_info=error, extra=fields)
    elif isinstance(problem, Unavailable) and not isinstance(problem, Contended):
        # run_with_retries() has logged a Contended one.
        log.error("%s: %s", problem.code, describe_database_error(error), extra=fields)
    return problem


def describe_database_error(error: BaseException) -> str:
    """Return the first line of what the database says, with the SQLSTATE if there is one."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    state = sqlstate_of(error)
    return f"{line} ({state})" if state else line


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
