"""Is the process alive, and can it serve? For load balancers: no credentials, no data."""

from __future__ import annotations

from collections.abc import Callable

from django.db import Error as DatabaseError
from django.db import NotSupportedError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, JsonResponse

# Further questions the roof asks, each answering with sentences about what is wrong.
Question = Callable[[], list[str]]


def livez(request: HttpRequest) -> JsonResponse:
    """200 as long as the process answers."""
    return JsonResponse({"status": "ok"})


def readyz(request: HttpRequest, questions: tuple[Question, ...] = ()) -> JsonResponse:
    """200 when the database answers, all migrations are applied and the wall stands, else 503."""
    try:
        wrong = [*_unapplied(), *(sentence for ask in questions for sentence in ask())]
    except NotSupportedError as error:  # an old PostgreSQL
        wrong = [str(error)]
    except DatabaseError:
        wrong = ["the database does not answer"]
    body = {"status": "not ready" if wrong else "ok", "problems": wrong}
    return JsonResponse(body, status=503 if wrong else 200)


def _unapplied() -> list[str]:
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"migration {migration} is not applied" for migration, _backwards in plan]
