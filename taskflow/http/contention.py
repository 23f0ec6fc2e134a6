"""
Running a unit of work again that the database rolled back for the sake of others.

Two transactions that wait for each other are a deadlock, which PostgreSQL resolves by failing one
of them. That one has changed nothing, and nobody was told that it had, so it is run again here
instead of being sent again by the caller.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from itertools import count
from random import uniform
from typing import Any, TypeVar

from django.db import Error as DatabaseError
from django.http import HttpResponse

from taskflow.http.errors import Contended, is_contended, problem_of_response
from taskflow.http.request import Request

T = TypeVar("T")
R = TypeVar("R", bound=Request)
log = logging.getLogger("taskflow.contention")

ATTEMPTS = 3
PAUSE = 0.01  # seconds on average after the first attempt, twice that after the second
# What reading a request's body leaves on the request. It can be read only once.
BODY_ATTRIBUTES = frozenset({"_body", "_files", "_post", "_read_started", "_stream"})


def run_with_retries(work: Callable[[], T], may_repeat: Callable[[], bool] = lambda: True) -> T:
    """Call `work`, which is one whole transaction, up to three times while it is contended.

    `may_repeat` is asked before each repetition. Raises what the last attempt raises.
    """
    for attempt in range(1, ATTEMPTS):
        try:
            return work()
        except (Contended, DatabaseError) as error:
            if not is_contended(error) or not may_repeat():
                raise
            trace = error if isinstance(error, DatabaseError) else None
            log.warning("attempt %d was contended: %s", attempt, error, exc_info=trace)
        time.sleep(PAUSE * attempt * uniform(0.5, 1.5))  # noqa: S311 - no secret
    return work()


def respond_with_retries(request: R, answer: Callable[[R], HttpResponse]) -> HttpResponse:
    """Answer the request, up to three times while that is contended.

    Each attempt gets the request as the first one did, except that `request.is_repeated` is true
    from the second attempt on. Raises what the last attempt raises: Contended, or a database error
    of that meaning.
    """
    given = dict(vars(request))
    attempts = count()

    def attempt() -> HttpResponse:
        _restore(request, given)
        request.is_repeated = next(attempts) > 0
        response = answer(request)
        problem = problem_of_response(response)
        if isinstance(problem, Contended):
            raise problem
        return response

    return run_with_retries(attempt, lambda: _may_repeat(request))


def _may_repeat(request: Request) -> bool:
    """Whether nothing is used up: a body that was read as a stream, or a session's changes."""
    state = vars(request)
    is_body_there = not state.get("_read_started") or bool(state.keys() & {"_body", "_post"})
    is_session_as_given = not getattr(state.get("session"), "modified", False)
    return is_body_there and is_session_as_given and not state.get("_files")


def _restore(request: Request, given: dict[str, Any]) -> None:
    """Take off the request what an attempt left on it, but for its body."""
    state = vars(request)
    for name in state.keys() - given.keys() - BODY_ATTRIBUTES:
        del state[name]
    state |= {name: value for name, value in given.items() if name not in BODY_ATTRIBUTES}
