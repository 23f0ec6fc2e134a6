"""
Messages for failures at startup that the operator can correct.

A setting that cannot be parsed, a directory that cannot be written or a database that cannot be
used is reported in one line on stderr, without a traceback and without a password. Bugs are
reported with their traceback.
"""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, InterfaceError, NotSupportedError, OperationalError

from taskflow.program import name_program

UNDEFINED_OBJECTS = {"42P01", "42703"}  # SQLSTATEs: no such table, no such column


def describe_failure(error: Exception) -> str | None:
    """Return one line that says what to correct, or None if the error is a bug."""
    text = " ".join(str(error).split())
    if isinstance(error, ImproperlyConfigured):
        return f"The configuration is wrong: {text}"
    if _needs_migration(error, text):
        return f"The database is not up to date. Run: {name_program()} migrate"
    if _is_unusable(error, text):
        return f"The database cannot be used: {text}"
    return None


def _needs_migration(error: Exception, text: str) -> bool:
    state = getattr(error.__cause__, "sqlstate", None)
    return state in UNDEFINED_OBJECTS or text.startswith(("no such table", "no such column"))


def _is_unusable(error: Exception, text: str) -> bool:
    return (
        isinstance(error, OperationalError | InterfaceError | NotSupportedError)
        or type(error) is DatabaseError  # SQLite: the file is not a database
        or text.startswith("invalid connection option")  # psycopg raises a ProgrammingError for it
    )
