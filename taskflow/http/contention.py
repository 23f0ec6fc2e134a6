"""
Running a unit of work again that the database has rolled back because of concurrent transactions.

Two transactions that wait for each other are a deadlock. PostgreSQL ends it by failing one of them.
That one has changed nothing and no response was sent, so it is run again here. Otherwise every
client would have to send its request again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from itertools import count
from random import uniform
from typing import TypeVar

from django.db import Error as DatabaseError
from django.http import HttpResponse

from taskflow.http.database_errors import is_contended
from taskflow.http.error_causes import cause_of
from taskflow.http.errors import problem_of_response
from taskflow.http.request import Request
from taskflow.http.unavailable import Contended
from taskflow.metrics.definitions import RETRIES

T = TypeVar("T")
R = TypeVar("R", bound=Request)
log = logging.getLogger("taskflow.contention")

MAX_ATTEMPTS = 3
PAUSE_SECONDS = 0.01  # on average after the first attempt, twice as long after the second
# The attributes that Django sets when it reads a body, which it can do only once.
BODY_ATTRIBUTES = frozenset({"_body", "_files", "_post", "_read_started", "_stream"})


def run_with_retries(work: Callable[[], T], may_repeat: Callable[[], bool] = lambda: True) -> T:
    """Return the result of `work`, which is one whole transaction, after up to three attempts.

    It is called again if it fails with Contended or such a database error, after a pause, and if
    `may_repeat()` is true. Raises what the last attempt raises.
    """
    for attempt in range(1, MAX_ATTEMPTS):
        try:
            return work()
        except (Contended, DatabaseError) as error:
            if not is_contended(error) or not may_repeat():
                raise
            trace = error if isinstance(error, DatabaseError) else None
            RETRIES.add(1.0, (cause_of(error),))
            log.warning("attempt %d was contended: %s", attempt, error, exc_info=trace)
        time.sleep(PAUSE_SECONDS * attempt * uniform(0.5, 1.5))  # noqa: S311 - no secret
    return work()


def respond_with_retries(request: R, answer: Callable[[R], HttpResponse]) -> HttpResponse:
    """Return the response of `answer`, which is called up to three times as in run_with_retries().

    Each attempt gets the request as the first one did, except that `request.is_repeated` is true
    from the second attempt on. Raises what the last attempt raises: Contended, or a database error
    of that meaning.
    """
    original = dict(vars(request))
    attempts = count()

    def attempt() -> HttpResponse:
        request.is_repeated = next(attempts) > 0
        if request.is_repeated:
            restore_request(request, original | {"is_repeated": True})
        response = answer(request)
        problem = problem_of_response(response)
        if isinstance(problem, Contended):
            raise problem
        return response

    return run_with_retries(attempt, lambda: _may_repeat(request))


def _may_repeat(request: Request) -> bool:
    """Return whether an attempt has left no trace that the next attempt would see.

    Traces are a body that was read as a stream, uploaded files, and changes of the session.
    """
    state = vars(request)
    has_body = not state.get("_read_started") or bool(state.keys() & {"_body", "_post"})
    is_session_unchanged = not getattr(state.get("session"), "modified", False)
    return has_body and is_session_unchanged and not state.get("_files")


def restore_request(request: Request, original: dict[str, object]) -> None:
    """Remove what an attempt has set on the request, except its body."""
    state = vars(request)
    for name in state.keys() - original.keys() - BODY_ATTRIBUTES:
        del state[name]
    state |= {name: value for name, value in original.items() if name not in BODY_ATTRIBUTES}
