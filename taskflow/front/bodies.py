"""Bodies that are on their way. No thread waits for them."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable
from threading import Lock

from taskflow.front.exchange import Exchange
from taskflow.front.limits import (
    BODY_SECONDS,
    BODY_SECONDS_PER_BYTE,
    MAX_BODY_BYTES_HELD,
    MAX_INCOMPLETE_BODIES,
)
from taskflow.front.protocol import Future
from taskflow.http.errors import BadRequest, Problem, RequestTimeout, problem_of_status
from taskflow.http.unavailable import Overloaded
from taskflow.metrics.definitions import BODY_BYTES, INCOMPLETE_BODIES

log = logging.getLogger("taskflow.front")


class Bodies:
    """Collects the bodies of requests, and passes on each request whose body is complete."""

    def __init__(self, pass_on: Callable[[Exchange], None]) -> None:
        self.pass_on = pass_on
        self._incomplete: dict[IncomingBody, None] = {}  # the oldest first
        self._bytes_held = 0  # of complete bodies too, until their requests are answered
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._incomplete)

    def collect(self, exchange: Exchange, length: int) -> None:
        """Collect a body of `length` bytes."""
        body = IncomingBody(self, exchange, length)
        with self._lock:
            oldest = None
            if len(self._incomplete) >= MAX_INCOMPLETE_BODIES:
                oldest = next(iter(self._incomplete))
            self._incomplete[body] = None
        if oldest is not None:
            oldest.refuse(Overloaded())
        body.read()

    def tend(self, now: float) -> None:
        """Refuse the bodies that take too long."""
        if self._incomplete:
            with self._lock:
                overdue = [body for body in self._incomplete if body.deadline < now]
            for body in overdue:
                body.refuse(RequestTimeout())

    def publish(self) -> None:
        """Set the gauges of bodies."""
        INCOMPLETE_BODIES.set(len(self._incomplete))
        BODY_BYTES.set(self._bytes_held)

    def give_up(self) -> None:
        """Refuse all incomplete bodies: the server stops."""
        for body in tuple(self._incomplete):
            body.refuse(Overloaded("The server stops. Send the request again."))

    # ---- called by the bodies ----

    def hold(self, body: IncomingBody, count: int) -> bool:
        """Count bytes that were received. Return whether the body is still to be collected.

        Above the limit of all bodies, the oldest incomplete one is refused.
        """
        with self._lock:
            if body not in self._incomplete:
                return False
            body.received += count
            self._bytes_held += count
            oldest = None
            if self._bytes_held > MAX_BODY_BYTES_HELD:
                oldest = next(iter(self._incomplete))
        if oldest is not None:
            oldest.refuse(Overloaded())
        return oldest is not body

    def free(self, count: int) -> None:
        with self._lock:
            self._bytes_held -= count

    def remove(self, body: IncomingBody) -> bool:
        """Return whether the body was incomplete until now. Only one caller gets true."""
        with self._lock:
            if body not in self._incomplete:
                return False
            del self._incomplete[body]
            return True


class IncomingBody:
    """The body of one request while it arrives."""

    __slots__ = (
        "bodies",
        "deadline",
        "exchange",
        "length",
        "next_part",
        "parts",
        "received",
        "stream",
    )

    def __init__(self, bodies: Bodies, exchange: Exchange, length: int) -> None:
        self.bodies = bodies
        self.exchange = exchange
        self.length = length
        self.deadline = time.monotonic() + BODY_SECONDS + length * BODY_SECONDS_PER_BYTE
        self.parts: list[bytes] = []
        self.received = 0
        self.stream = exchange.protocol.__aiter__()
        self.next_part: Future | None = None
        exchange.release = self.free

    def read(self) -> None:
        """Read parts until the body is complete. Returns when the next one has yet to arrive."""
        while True:
            self.next_part = part = self.stream.__anext__()
            if not part.done():
                part.add_done_callback(self._resume)
                return
            if not self._take(part):
                return

    def refuse(self, problem: Problem) -> None:
        """Stop reading, and end the connection with the problem. Does nothing after the end."""
        if self.bodies.remove(self):
            part, self.next_part = self.next_part, None
            if part is not None:
                part.cancel()
            self.exchange.refuse(problem, is_closed=True)

    def free(self) -> None:
        """Count the bytes of the body as not held any more."""
        self.bodies.free(self.received)

    def _resume(self, part: Future) -> None:
        try:
            if self._take(part):
                self.read()
        except Exception:  # granian would not report it, nor answer the request
            log.exception("a body could not be read")
            self.bodies.remove(self)
            self.exchange.refuse(problem_of_status(500), is_closed=True)

    def _take(self, part: Future) -> bool:
        """Keep a part that has arrived. Return whether to go on reading."""
        # The part refers to this object. Python does not find cycles through granian's objects.
        self.next_part = None
        if part.cancelled():
            return False
        content = b"" if part.exception() is not None else part.result()
        if not content:
            self.refuse(BadRequest("The connection ended before the body did."))
            return False
        if not self.bodies.hold(self, len(content)):
            return False
        self.parts.append(content)
        if self.received < self.length:
            return True
        if self.bodies.remove(self):
            self.exchange.environ["wsgi.input"] = io.BytesIO(b"".join(self.parts))
            self.bodies.pass_on(self.exchange)
        return False
