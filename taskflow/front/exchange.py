"""One request and its response."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from typing import NamedTuple

from taskflow.front.protocol import (
    Application,
    Environ,
    Future,
    Headers,
    ServerProtocol,
    watch_connection,
)
from taskflow.front.streams import send_stream
from taskflow.http.addresses import find_client
from taskflow.http.bodies import API_PREFIXES
from taskflow.http.cors import cors_headers
from taskflow.http.errors import CONTENT_TYPE, Problem, problem_of_status
from taskflow.http.request_record import QUEUE_SECONDS, to_ms
from taskflow.http.security_headers import API_HEADERS, PAGE_HEADERS, REQUEST_ID
from taskflow.http.waiting import WAIT, Wait
from taskflow.metrics.definitions import ABANDONED, NOT_BEGUN, record_request

log = logging.getLogger("taskflow.request")
TEXT = "text/plain; charset=utf-8"


class Response(NamedTuple):
    """A whole response."""

    status: int
    headers: Headers
    body: bytes


class Exchange:
    """A request, and the means to answer it from whichever thread."""

    __slots__ = (
        *("client", "environ", "hold", "is_gone", "on_gone", "protocol", "release", "waits_since"),
        *("watch", "writer"),
    )

    def __init__(
        self, protocol: ServerProtocol, environ: Environ, client: str = "", hold: Hold | None = None
    ) -> None:
        """`hold` takes a request that is to wait. Without it, requests are answered at once."""
        self.protocol = protocol
        self.environ = environ
        self.client = client  # address and port, as granian names them
        self.hold = hold
        self.is_gone = False  # whether the client has closed the connection
        self.waits_since = 0.0  # seconds of the monotonic clock, once its body is complete
        self.watch: Future | None = None  # ends when the client closes the connection
        self.on_gone: Callable[[], object] | None = None
        self.release: Callable[[], None] | None = None  # called once the body is not needed
        self.writer: str | None = None  # the tenant of a write, once it is submitted to a lane

    def answer(self, application: Application, queue_seconds: float = 0.0) -> None:
        """Send the response of the application. Does nothing if the client is gone.

        `queue_seconds` is how long the request has waited for this thread.
        """
        self.environ[QUEUE_SECONDS] = queue_seconds
        self.unwatch()
        try:
            if self.is_gone:
                ABANDONED.add()
            else:
                self._run(application)
        except Exception:
            log.exception("the request could not be answered")
            self.refuse(problem_of_status(500))
        finally:
            self._release()

    def _run(self, application: Application) -> None:
        start = StartOfResponse()
        parts = application(self.environ, start)
        if not isinstance(parts, list):
            send_stream(self.protocol, start.status, start.headers, parts)
            return
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        wait = self.environ.pop(WAIT, None)
        if isinstance(wait, Wait) and self.hold is not None:
            self.hold(self, Response(start.status, start.headers, body), wait)
        else:
            self.protocol.response_bytes(start.status, start.headers, body)

    def refuse(self, problem: Problem, *, is_closed: bool = False) -> None:
        """Send a problem document without running the application, and write its line in the log.

        With `is_closed` the connection ends with it.
        """
        self.unwatch()
        request_id = self._request_id()
        path = str(self.environ["PATH_INFO"])
        is_api = path.startswith(API_PREFIXES)
        body = problem.as_json(request_id) if is_api else problem.detail
        headers = {
            **(API_HEADERS if is_api else PAGE_HEADERS),
            "Content-Type": CONTENT_TYPE if is_api else TEXT,
            "X-Request-Id": request_id,
            **problem.headers,
        }
        origin = str(self.environ.get("HTTP_ORIGIN", ""))
        headers |= cors_headers(path, origin, headers.get("Vary", ""))
        if is_closed:
            headers["Connection"] = "close"
        self.protocol.response_bytes(problem.status, list(headers.items()), body.encode())
        self._release()
        self._record(request_id, problem, len(body.encode()))

    # ---- whether the client is still there ----

    def watch_client(self, on_gone: Callable[[], object] | None = None) -> None:
        """Set `is_gone`, and call `on_gone`, as soon as the client closes the connection."""
        self.on_gone = on_gone
        self.watch = watch = watch_connection(self.protocol)
        if watch is None:
            self._note_gone()
        else:
            watch.add_done_callback(self._note_end)

    def unwatch(self) -> None:
        if self.watch is not None:
            self.watch.cancel()
            self.watch = self.on_gone = None

    def _note_end(self, watch: Future) -> None:
        if not watch.cancelled():
            self._note_gone()

    def _note_gone(self) -> None:
        self.is_gone = True
        if self.on_gone is not None:
            self.on_gone()

    # ---- helpers ----

    def _release(self) -> None:
        if self.release is not None:
            self.release()
            self.release = None

    def _request_id(self) -> str:
        sent_id = str(self.environ.get("HTTP_X_REQUEST_ID", ""))
        return sent_id if REQUEST_ID.fullmatch(sent_id) else secrets.token_hex(16)

    def _record(self, request_id: str, problem: Problem, length: int) -> None:
        """Write the line of a refused request, and count it."""
        waited = time.monotonic() - self.waits_since if self.waits_since else 0.0
        method = str(self.environ["REQUEST_METHOD"])
        record_request(NOT_BEGUN, method, problem.status, waited, problem.code)
        fields = {
            "request_id": request_id,
            "client": find_client(self.environ),
            "method": method,
            "path": self.environ["PATH_INFO"],
            "operation": NOT_BEGUN,
            "status": problem.status.value,
            "code": problem.code,
            "queue_ms": to_ms(waited),
            "bytes": length,
        }
        log.info("request", extra=fields)


Hold = Callable[[Exchange, Response, Wait], None]


def run_application(application: Application, environ: Environ) -> Response:
    """Return the response of the application, whole."""
    start = StartOfResponse()
    body = b"".join(application(environ, start))
    return Response(start.status, start.headers, body)


class StartOfResponse:
    """WSGI's start_response: keeps status and headers."""

    __slots__ = ("headers", "status")

    status: int
    headers: Headers

    def __call__(self, status: str, headers: Headers, exc_info: object = None) -> None:
        self.status = int(status[:3])
        self.headers = headers
