"""Commands that set the role of their session, which is possible only without a connection pooler.

A pooler that works by transaction gives the session to other clients, with its role and settings.
All other code sets them for its transaction alone.
"""

from __future__ import annotations

from django.core.management.base import CommandError
from django.db.backends.base.base import BaseDatabaseWrapper

from taskflow.program import name_program


def refuse_pooler(connection: BaseDatabaseWrapper, command: str) -> None:
    """Raise CommandError for the command behind a pooler. One query."""
    if is_behind_pooler(connection):
        raise build_refusal(command)


def build_refusal(command: str) -> CommandError:
    """Return the error of a command that cannot work through a pooler."""
    return CommandError(
        f"`{command}` cannot work through a connection pooler, which could give the owner role to"
        f" other clients. Run `{name_program()} {command}` with a DATABASE_URL that names the"
        " server itself."
    )


def is_behind_pooler(connection: BaseDatabaseWrapper) -> bool:
    """Return whether a pooler answers for the server: it then has given a process id of its own."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return bool(cursor.fetchone()[0] != connection.connection.info.backend_pid)
