"""From a request that granian has received to the threads that answer it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from taskflow.db.open_connections import publish_connections
from taskflow.front.bodies import Bodies
from taskflow.front.clients import KnownUsers
from taskflow.front.environ import build_environ
from taskflow.front.exchange import Exchange
from taskflow.front.lanes import Lane
from taskflow.front.limits import (
    MAX_WRITES,
    MAX_WRITES_OF_TENANT,
    PROBE_SLOTS,
    SIGN_IN_SLOTS,
    WORK_SLOTS,
)
from taskflow.front.protocol import Application, ClosingProtocol, Watcher
from taskflow.front.shares import WriteShares
from taskflow.front.unread import Unread
from taskflow.front.waits import Waits
from taskflow.http.bodies import is_body_allowed
from taskflow.http.security_headers import PAGE_HEADERS

log = logging.getLogger("taskflow.front")
Route = tuple[str, str]  # method and path
LIVE = b'{"status": "ok"}'
LIVE_HEADERS = [*PAGE_HEADERS.items(), ("Content-Type", "application/json")]


class Front:
    """Passes each request on: to the threads that work, sign in or probe, when it is complete.

    A request that waits for commits is kept by `waits`, also when it is answered in parts.
    """

    def __init__(self, application: Application, sign_in_routes: tuple[Route, ...]) -> None:
        sign_in_threads = start_in_threads("sign-in", SIGN_IN_SLOTS)
        probe_threads = start_in_threads("probe", PROBE_SLOTS)
        shares = WriteShares(MAX_WRITES, MAX_WRITES_OF_TENANT)
        users = KnownUsers()
        self.work = Lane(
            "work", application, WORK_SLOTS, shares=shares,
            identify=users.identify, learn=users.learn,
        )  # fmt: skip
        self.sign_ins = Lane("sign_in", application, SIGN_IN_SLOTS, sign_in_threads)
        self.probes = Lane("probe", application, PROBE_SLOTS, probe_threads)
        self.bodies = Bodies(self.pass_on)
        self.unread = Unread()
        self.waits = Waits(application)
        self._stopping: list[Callable[[], object]] = []
        self.is_closing = False  # whether each response closes its connection
        self.routes: Mapping[tuple[object, object], Callable[[Exchange], None]] = {
            ("GET", "/livez"): answer_livez,
            ("HEAD", "/livez"): answer_livez,
            ("GET", "/readyz"): self.probes.submit,
            ("HEAD", "/readyz"): self.probes.submit,
            **dict.fromkeys(sign_in_routes, self.sign_ins.submit),
        }

    @property
    def lanes(self) -> tuple[Lane, ...]:
        return self.work, self.sign_ins, self.probes

    @property
    def is_idle(self) -> bool:
        """Return whether no request is incomplete, waits or is being answered."""
        return not self.bodies and self.waits.is_idle and all(lane.is_idle for lane in self.lanes)

    def when_stopping(self, work: Callable[[], object]) -> None:
        """Run `work`, in a thread of its own, when the worker begins to stop."""
        self._stopping.append(work)

    def stop(self) -> None:
        """To be called when the worker begins to stop. Does not wait."""
        for work in self._stopping:
            threading.Thread(target=work, daemon=True).start()

    def receive(self, watcher: Watcher) -> None:
        """Take a request. Called by granian in one of its threads, which then may answer it."""
        try:
            scope = watcher.scope
            protocol = self.unread.receive(watcher.proto, scope.client)
            if self.is_closing:
                protocol = ClosingProtocol(protocol)
            environ = build_environ(scope)
            exchange = Exchange(protocol, environ, scope.client, self.waits.hold)
            length = exchange.environ.get("CONTENT_LENGTH", "0")
            # The application refuses other bodies by their Content-Length, without reading them.
            if length != "0" and is_body_allowed(str(exchange.environ["PATH_INFO"]), str(length)):
                self.bodies.collect(exchange, int(str(length)))
            else:
                self.pass_on(exchange)
        except Exception:  # granian would not report it, nor answer the request
            log.exception("a request could not be received")
            watcher.proto.response_bytes(500, [], b"")

    def pass_on(self, exchange: Exchange) -> None:
        """Answer a complete request, or let it wait for a thread."""
        environ = exchange.environ
        route = self.routes.get((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        if route is None:
            self.work.submit(exchange)
        else:
            route(exchange)

    def tend(self) -> None:
        """Refuse what has waited too long, and set the gauges. Call it several times a second."""
        now = time.monotonic()
        self.bodies.tend(now)
        self.unread.tend()
        for lane in self.lanes:
            lane.tend(now)
            lane.publish()
        self.waits.tend(now)
        self.waits.publish()
        self.bodies.publish()
        publish_connections()


def answer_livez(exchange: Exchange) -> None:
    """Answer that the process runs. Needs no thread of its own, no database and no log."""
    exchange.protocol.response_bytes(200, LIVE_HEADERS, LIVE)


def start_in_threads(
    name: str, count: int
) -> Callable[[Callable[[Exchange], None], Exchange], object]:
    """Return a function that runs work in threads of its own."""
    return ThreadPoolExecutor(count, thread_name_prefix=name).submit
