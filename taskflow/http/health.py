"""Health checks for load balancers. They need no credentials and show no data."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from django.db import Error as DatabaseError
from django.db import NotSupportedError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse

from taskflow.http.database_errors import report_database_error
from taskflow.http.request import Request

# A check that the project adds. It returns one sentence for each problem.
FindProblems = Callable[[], list[str]]


def livez(request: HttpRequest) -> JsonResponse:
    """Return 200. A process that hangs does not respond."""
    return JsonResponse({"status": "ok"})


def readyz(request: Request, checks: tuple[FindProblems, ...] = ()) -> JsonResponse:
    """Return 200 if requests can be served, otherwise 503 with a list of problems.

    The database must be reachable and accept writes, all migrations must be applied, and `checks`
    must not return any problem. Writes nothing.
    """
    try:
        problems = [
            *_find_read_only_database(),
            *find_unapplied_migrations(),
            *(sentence for check in checks for sentence in check()),
        ]
    except NotSupportedError as error:  # the version of PostgreSQL is too old
        problems = [str(error)]
    except DatabaseError as error:
        problems = [report_database_error(request, error).detail]
    if not problems:
        return JsonResponse({"status": "ok", "problems": []})
    body = {"status": "not ready", "problems": problems}
    return JsonResponse(body, status=503, headers={"Retry-After": "1"})


def close_read_only_connection() -> None:
    """Close the connection to a PostgreSQL server that accepts only reads.

    The next request then connects to the server that has taken over, or to the same server after
    its maintenance. Does nothing inside a transaction, and nothing on SQLite.
    """
    if connection.vendor != "postgresql" or connection.in_atomic_block:
        return
    if connection.connection is not None:
        connection.connection.close()  # otherwise a pool would give it to the next request
    connection.close()


def _find_read_only_database() -> list[str]:
    is_read_only = {"postgresql": _is_session_read_only, "sqlite": _is_file_read_only}
    if not is_read_only[connection.vendor]():
        return []
    close_read_only_connection()
    return ["the database accepts only reads"]


def _is_session_read_only() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean"
        )
        return bool(cursor.fetchone()[0])


def _is_file_read_only() -> bool:
    """Return whether the file or its folder is read-only. SQLite creates its log in the folder."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA query_only")
        if cursor.fetchone()[0]:
            return True
    file = Path(str(connection.settings_dict["NAME"]))
    return file.exists() and not (os.access(file, os.W_OK) and os.access(file.parent, os.W_OK))


def find_unapplied_migrations() -> list[str]:
    """Return a sentence for each migration that is not applied."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"migration {migration} is not applied" for migration, _backwards in plan]
