"""Short names for the causes of database errors, by which they are counted."""

from __future__ import annotations

from django.db import Error as DatabaseError

from taskflow.db.causes import NO_FREE_CONNECTION, SILENT
from taskflow.metrics.families import OTHER

# By SQLSTATE, or by its first two or three characters.
CAUSE_BY_SQLSTATE = {
    SILENT: "silent",
    "08": "connection",
    "25006": "read_only",
    "26000": "prepared_statement",
    "42P05": "prepared_statement",
    "40001": "serialization",
    "40P01": "deadlock",
    "53100": "disk_full",
    NO_FREE_CONNECTION: "no_free_connection",
    "53": "resources",
    "55P03": "lock_timeout",
    "57014": "statement_timeout",
    "57P": "connection",
    "58": "connection",
}
# By the beginnings of SQLite's messages, and of psycopg's without an SQLSTATE.
CAUSE_BY_MESSAGE = {
    "database is locked": "busy",
    "database table is locked": "busy",
    "database or disk is full": "disk_full",
    "attempt to write a readonly database": "read_only",
    "interrupted": "statement_timeout",
    "unable to open database file": "connection",
    "connection": "connection",
    "the connection": "connection",
    "server closed": "connection",
}


def sqlstate_of(error: BaseException) -> str:
    """Return the SQLSTATE of a database error; "" on SQLite, and if PostgreSQL sent none."""
    return getattr(error, "sqlstate", None) or getattr(error.__cause__, "sqlstate", None) or ""


def cause_of(error: BaseException) -> str:
    """Return the cause of a failed transaction: one of DATABASE_CAUSES or RETRY_CAUSES, or "other".

    `error` is a database error, or the Contended that it means. "moved" is a Contended without a
    database error: a row was in another project when it was locked.
    """
    if not isinstance(error, DatabaseError):
        return cause_of(error.__cause__) if error.__cause__ else "moved"
    state = sqlstate_of(error)
    for prefix in (state, state[:3], state[:2]):
        if prefix in CAUSE_BY_SQLSTATE:
            return CAUSE_BY_SQLSTATE[prefix]
    message = str(error).lower()
    causes = CAUSE_BY_MESSAGE.items()
    return next((cause for start, cause in causes if message.startswith(start)), OTHER)
