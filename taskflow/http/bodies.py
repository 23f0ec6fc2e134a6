"""
Request bodies are read completely before anything else happens.

A client may announce a body and never send it. Under WSGI the thread that reads it then waits as
long as the client stays connected: nothing can interrupt the read. So no transaction is open while
a body is read, and only half of the threads may read at a time. The others answer requests without
a body, such as probes and reads.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpResponse, UnreadablePostError

from taskflow.http.charsets import check_charset
from taskflow.http.errors import BadRequest, Problem, Unavailable, problem_of_status
from taskflow.http.request import Request

API_PREFIX = "/api/"
BLOCKING_THREADS = 4  # in each worker process, to answer requests (taskflow/serving.py)
MAX_BODY_READERS = BLOCKING_THREADS // 2
MAX_CONTENT_LENGTH_DIGITS = 19  # Python's int() refuses more than 4,300 digits
DIGITS_OF_SMALL_BODY = 6  # a Content-Length with so many digits is below every limit
MAX_WAIT_SECONDS = 0.25  # a body that was sent at once is read within a few milliseconds


class BodyReaders:
    """Limits how many threads of this process read a request body at the same time."""

    def __init__(self, limit: int, max_wait: float) -> None:
        self.limit = limit
        self.max_wait = max_wait  # seconds
        self._started: list[float] = []  # when each read that is under way began
        self._changed = threading.Condition()

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Take one of the slots. Raises Unavailable if none becomes free soon."""
        started = self._wait_for_slot()
        try:
            yield
        finally:
            with self._changed:
                self._started.remove(started)
                self._changed.notify()

    def has_waited_longer_than(self, seconds: float) -> bool:
        """Return whether a body has been read for so long already. Takes no lock."""
        oldest = min(tuple(self._started), default=None)
        return oldest is not None and time.monotonic() - oldest > seconds

    def _wait_for_slot(self) -> float:
        """Return when the slot was taken, in seconds of the monotonic clock.

        Ordinary bodies have arrived before they are read, so in a burst of writes a slot becomes
        free at once. A thread waits for a slot only if one of the reads has begun within the last
        `max_wait` seconds. If all reads are slow, waiting would take the remaining threads away
        from other requests. Raises Unavailable in that case.
        """
        entered = time.monotonic()
        with self._changed:
            while len(self._started) >= self.limit:
                newest = min(entered, max(self._started))
                remaining = newest + self.max_wait - time.monotonic()
                if remaining <= 0:
                    raise Unavailable(
                        "The server is waiting for the bodies of too many other requests."
                        " Send the request again shortly."
                    )
                self._changed.wait(remaining)
            started = time.monotonic()
            self._started.append(started)
        return started


def find_body_limit(request: Request) -> int:
    """Return the largest allowed body of a request in bytes. Files may be larger."""
    is_file = settings.FILE_PATHS.fullmatch(request.path)
    limit: int = settings.MAX_FILE_BYTES if is_file else settings.MAX_BODY_BYTES
    return limit


readers = BodyReaders(MAX_BODY_READERS, MAX_WAIT_SECONDS)


def read_body(request: Request) -> HttpResponse | None:
    """Read the whole body into `request.body`. Return a refusal, or None if it was read.

    A body above MAX_BODY_BYTES, or a file above MAX_FILE_BYTES, is refused by its Content-Length,
    without reading it.
    """
    content_length = request.META.get("CONTENT_LENGTH") or "0"
    if content_length == "0":
        return None
    try:
        # Operations of the API check their content type themselves.
        if not request.path.startswith(API_PREFIX):
            check_charset(request)
        if not content_length.isdecimal():
            raise BadRequest("Content-Length must be a number of bytes.")
        digits = len(content_length)
        if digits > MAX_CONTENT_LENGTH_DIGITS:
            raise RequestDataTooBig
        if digits > DIGITS_OF_SMALL_BODY and int(content_length) > find_body_limit(request):
            raise RequestDataTooBig
        with readers.enter():
            body = request.body
        if len(body) < int(content_length):
            raise BadRequest("The body is shorter than its Content-Length.")
    except RequestDataTooBig:
        return _refuse(request, problem_of_status(413))
    except UnreadablePostError:
        return _refuse(request, BadRequest("The connection ended before the body did."))
    except Problem as problem:
        return _refuse(request, problem)
    return None


def _refuse(request: Request, problem: Problem) -> HttpResponse:
    """Return a problem document for the API, and plain text for everything else."""
    if request.path.startswith(API_PREFIX):
        return problem.as_response(request)
    return HttpResponse(
        problem.detail,
        status=problem.status,
        content_type="text/plain; charset=utf-8",
        headers=problem.headers,
    )
