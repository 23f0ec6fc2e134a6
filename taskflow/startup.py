"""
Which failures are for the person who starts the program, and how they read.

A setting that cannot be read, a directory that cannot be written, a database that cannot be used:
each is one line on stderr, without a traceback and without a password. Errors of the program keep
their traceback.
"""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, InterfaceError, NotSupportedError, OperationalError

UNDEFINED_OBJECTS = {"42P01", "42703"}  # SQLSTATEs of a table and of a column that do not exist


def describe_failure(error: Exception) -> str | None:
    """Return one line, or None when the program itself is wrong."""
    text = " ".join(str(error).split())
    if isinstance(error, ImproperlyConfigured):
        return f"The configuration is wrong: {text}"
    if _needs_migration(error, text):
        return "The database is not up to date. Run: python manage.py migrate"
    if _is_unusable(error, text):
        return f"The database cannot be used: {text}"
    return None


def _needs_migration(error: Exception, text: str) -> bool:
    state = getattr(error.__cause__, "sqlstate", None)
    return state in UNDEFINED_OBJECTS or text.startswith(("no such table", "no such column"))


def _is_unusable(error: Exception, text: str) -> bool:
    return (
        isinstance(error, OperationalError | InterfaceError | NotSupportedError)
        or type(error) is DatabaseError  # SQLite's answer to a file that is no database
        or text.startswith("invalid connection option")  # psycopg takes that for a wrong statement
    )
