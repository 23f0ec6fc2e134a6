"""What is written in the log about each request, and counted in the metrics."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from functools import partial

from django.conf import settings
from django.http import HttpResponse
from django.urls import Resolver404, resolve

from taskflow.http.addresses import find_client
from taskflow.http.bodies import API_PREFIXES
from taskflow.http.errors import problem_of_response
from taskflow.http.request import Request
from taskflow.http.waiting import WAIT, WAITED_SECONDS
from taskflow.metrics.definitions import READ_AS, record_request
from taskflow.metrics.families import OTHER
from taskflow.metrics.timing import timings

log = logging.getLogger("taskflow.request")
# Set by the front: the seconds for which a complete request has waited for a thread.
QUEUE_SECONDS = "taskflow.queue_seconds"
# Set for the front: tenant and user of accepted credentials, as their ids.
USER = "taskflow.user"
# The names under which pages are counted, by the beginnings of their paths, in this order.
PAGES = {
    "/admin/": "admin",
    "/static/": "static",
    "/favicon.ico": "static",
    "/api/v1/docs": "docs",
    "/livez": "livez",
    "/readyz": "readyz",
    "/mcp": "mcp",
}


def record(request: Request, response: HttpResponse, started: float) -> None:
    """Write the line of a request, and count it; later, if the request is to wait.

    It was begun at `started`, by time.perf_counter(). Statements are those since then.
    """
    seconds = time.perf_counter() - started
    queued = timings.queued
    operation = request.operation_id or _find_operation(request, response.status_code)
    problem = problem_of_response(response)
    code = problem.code if problem else None
    method = str(request.method)
    actor = request.actor
    token = actor.token if actor else None
    tenant_id = user_id = None
    if actor:
        tenant_id, user_id = request.META[USER] = actor.tenant.pk, actor.user.pk
    fields = {
        "request_id": request.request_id,
        "tenant": tenant_id,
        "user": user_id,
        "token": token.pk if token else None,
        "client": find_client(request.META),
        "method": method,
        "path": request.path,
        "operation": operation,
        "status": response.status_code,
        "code": code,
        "ms": to_ms(seconds),
        "queue_ms": to_ms(queued),
        "db_ms": to_ms(timings.database),
        "lock_ms": to_ms(timings.lock_wait),
        "statements": timings.statements,
        "bytes": None if response.streaming else len(response.content),
    }
    if WAITED_SECONDS in request.META:
        fields["waited_ms"] = to_ms(request.META[WAITED_SECONDS])
    wait = request.wait
    if wait is not None and response.status_code < 400 and method != "HEAD":
        wait.write_record = partial(_write_after_wait, fields, queued + seconds)
        request.META[WAIT] = wait
        return
    record_request(operation, method, response.status_code, queued + seconds, code, timings)
    _write_line(fields, queued + seconds)


def _write_after_wait(fields: dict[str, object], seconds: float, waited: float) -> None:
    """Count a request that has waited, and write its line. Its duration is that of its last run."""
    record_request(
        str(fields["operation"]), str(fields["method"]), int(str(fields["status"])), seconds
    )
    _write_line(fields | {"waited_ms": to_ms(waited)}, seconds)


def _write_line(fields: dict[str, object], seconds: float) -> None:
    if seconds >= settings.SLOW_REQUEST_SECONDS:
        log.warning("slow request", extra={**fields, "slow": True})
    else:
        log.info("request", extra=fields)


def _find_operation(request: Request, status: int) -> str:
    """Return under which name to count a request that no operation has answered.

    Without a database, a request of the API fails before its URL is looked up. The log and the
    metrics have to say which operations fail, so it is looked up here.
    """
    if status >= 500 and request.path.startswith(API_PREFIXES):
        with suppress(Resolver404):
            ids: dict[str, str] = getattr(resolve(request.path).func, "operation_ids", {})
            method = str(request.method)
            return ids.get(READ_AS.get(method, method)) or _name_page(request.path)
    return _name_page(request.path)


def _name_page(path: str) -> str:
    """Return the name under which a request is counted that no operation has answered."""
    return next((name for prefix, name in PAGES.items() if path.startswith(prefix)), OTHER)


def to_ms(seconds: float) -> float:
    """Return milliseconds, rounded to a tenth."""
    return round(seconds * 1000, 1)
