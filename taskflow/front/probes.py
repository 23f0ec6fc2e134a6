"""
A port of its own for /livez, /readyz and /metrics.

It has its own threads and its own connection to the database, so it answers also while the public
port is busy or has no free connection. Each worker listens on it; the kernel gives a connection to
one of them.
"""

from __future__ import annotations

import io
import json
import logging
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Generic, TypeVar

from taskflow.front.exchange import StartOfResponse
from taskflow.front.front import LIVE, LIVE_HEADERS
from taskflow.front.limits import (
    CHECK_SECONDS,
    MAX_PROBE_CONNECTIONS,
    PROBE_CONNECTION_SECONDS,
)
from taskflow.front.protocol import Application, Environ, Headers

T = TypeVar("T")
log = logging.getLogger("taskflow.front")
Response = tuple[int, Headers, bytes]
NOT_FOUND: Response = (404, [("Content-Type", "text/plain")], b"See /livez, /readyz and /metrics.")


class SharedCall(Generic[T]):
    """Runs a function in a thread of its own. Callers that come meanwhile share the same run.

    So a database that does not answer holds one thread, however often it is asked for.
    """

    def __init__(self, name: str, function: Callable[[], T]) -> None:
        self._function = function
        self._threads = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._lock = threading.Lock()
        self._running: Future[T] | None = None

    def wait(self, seconds: float) -> T:
        """Return the result. Raises TimeoutError after that time, while the call goes on."""
        with self._lock:
            running = self._running
            if running is None or running.done():
                running = self._running = self._threads.submit(self._function)
        return running.result(seconds)


class ProbeServer(ThreadingHTTPServer):
    """Answers GET and HEAD of the three paths, each connection in a thread of its own."""

    daemon_threads = True
    allow_reuse_port = True
    request_queue_size = MAX_PROBE_CONNECTIONS

    def __init__(
        self, host: str, port: int, application: Application, write_metrics: Callable[[], Response]
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        readiness = SharedCall("probe-ready", lambda: call(application, "/readyz"))
        self.routes: Mapping[str, Callable[[], Response]] = {
            "/livez": lambda: (200, LIVE_HEADERS, LIVE),
            "/readyz": lambda: wait_for_readiness(readiness),
            "/metrics": write_metrics,
        }
        self._free = threading.BoundedSemaphore(MAX_PROBE_CONNECTIONS)
        super().__init__((host, port), ProbeHandler)

    def start(self) -> None:
        """Serve in a thread, until stop() or the end of the process."""
        serving = threading.Thread(target=self.serve_forever, args=[0.1], name="probe-port")
        serving.daemon = True
        serving.start()

    def stop(self) -> None:
        """Accept no more connections. Other workers, or new ones, have the port then."""
        self.shutdown()
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Close a connection at once when there are too many."""
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):  # the client is gone
            log.exception("a probe could not be answered")


class ProbeHandler(BaseHTTPRequestHandler):
    timeout = PROBE_CONNECTION_SECONDS
    server: ProbeServer

    def do_GET(self) -> None:
        route = self.server.routes.get(self.path.partition("?")[0])
        status, headers, body = NOT_FOUND if route is None else route()
        self.send_response_only(status)
        for name, value in (*headers, ("Content-Length", str(len(body))), ("Connection", "close")):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *args: object) -> None:
        """Write no line: probes come every few seconds, and /readyz has one of the application."""


def wait_for_readiness(readiness: SharedCall[Response]) -> Response:
    """Return the response of /readyz, or 503 if the check does not end in time."""
    try:
        return readiness.wait(CHECK_SECONDS)
    except TimeoutError:
        problem = f"the check did not end within {CHECK_SECONDS:g} seconds"
        body = json.dumps({"status": "not ready", "problems": [problem]}).encode()
        return 503, [("Content-Type", "application/json"), ("Retry-After", "1")], body


def call(application: Application, path: str) -> Response:
    """Return the application's response to GET of a path."""
    environ: Environ = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "localhost",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    start = StartOfResponse()
    body = b"".join(application(environ, start))
    headers = [pair for pair in start.headers if pair[0].lower() != "content-length"]
    return start.status, headers, body
