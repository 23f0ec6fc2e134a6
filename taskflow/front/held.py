"""One request that waits for commits, with the answer of its last run."""

from __future__ import annotations

import io
import random
import time
from collections.abc import Hashable
from hashlib import blake2b

from taskflow.front.exchange import Exchange, Response
from taskflow.front.limits import (
    HEARTBEAT_SECONDS,
    MAX_RETRY_MS,
    MAX_UNREAD_OF_STREAM,
    MIN_RETRY_MS,
    RECHECK_SECONDS,
    REPEAT_SECONDS,
)
from taskflow.front.protocol import Environ, StreamTransport
from taskflow.http.preconditions import SAFE
from taskflow.http.request_record import QUEUE_SECONDS
from taskflow.http.waiting import WAIT_STATE, WAITED_SECONDS, Wait

Key = object
# Headers on which no answer depends; the state of a request contains its Last-Event-ID, and its
# reader class stands for its token.
IGNORED_HEADERS = frozenset(
    f"HTTP_{name}"
    for name in (
        *("AUTHORIZATION", "CONNECTION", "FORWARDED", "LAST_EVENT_ID"),
        *("TRACEPARENT", "TRACESTATE"),
        *("USER_AGENT", "X_FORWARDED_FOR", "X_REAL_IP", "X_REQUEST_ID"),
    )
)
REQUEST_ID = "X-Request-Id"
CLOSE = ("Connection", "close")
HEARTBEAT = b": heartbeat\n\n"


class Held:
    """A request that waits. Its registry (waits.py) decides who may end it, and locks it."""

    __slots__ = (
        *("began", "digest", "due", "exchange", "expires_at", "first", "is_ended", "is_queued"),
        *("reader_class", "response", "state", "tenant_id", "token_id", "woken_at"),
        *("runs_at", "write_record"),
    )

    def __init__(self, exchange: Exchange, response: Response, wait: Wait) -> None:
        self.exchange = exchange
        self.tenant_id, self.token_id = wait.tenant_id, wait.token_id
        # Of the readers with which it shares the next run; None as long as it is not known.
        self.reader_class: Hashable = None
        self.digest = digest_request(exchange.environ)
        # Seconds of the monotonic clock. `began` is when the last run began, `first` the first one.
        self.began = self.first = exchange.waits_since
        self.woken_at = 0.0  # 0 if it was not woken since the last run
        self.due = 0.0  # when tend() has to look at it
        self.is_queued = False  # for a run
        self.is_ended = False
        self.write_record = wait.write_record
        self.take(response, wait)

    @property
    def is_read(self) -> bool:
        return self.exchange.environ["REQUEST_METHOD"] in SAFE

    @property
    def key(self) -> Key:
        """What distinguishes this run from others. Equal reads share one run, writes do not.

        Reads with different tokens share it too, as far as share_answer() allows it.
        """
        if not self.is_read:
            return id(self)
        return self.digest, self.state, self.reader_class, self.token_id is None

    @property
    def may_be_committing(self) -> bool:
        """Whether a run may change something now, so that only its own answer is the right one.

        The end of the run then ends the request.
        """
        return self.is_queued and not self.is_read

    def take(self, response: Response, wait: Wait) -> None:
        """Keep the answer of a run that waits."""
        self.response, self.state = response, wait.state
        self.runs_at = float("inf")  # when it has to be run although nothing was committed
        if wait.again_after is not None:
            self.runs_at = time.monotonic() + wait.again_after
        if wait.token_id != self.token_id:  # the run of another token, whose time is not its own
            return
        self.expires_at = float("inf")
        if wait.expires_at is not None:
            self.expires_at = time.monotonic() + wait.expires_at - time.time()

    def prepare_run(self, now: float) -> Environ:
        """Return the environment for the next run: the same request, with the state of the last."""
        environ = self.exchange.environ
        environ[WAIT_STATE] = self.state
        environ[WAITED_SECONDS] = now - self.first
        environ[QUEUE_SECONDS] = 0.0
        environ["HTTP_X_REQUEST_ID"] = self.request_id
        body = environ["wsgi.input"]
        if isinstance(body, io.BytesIO):
            body.seek(0)
        return environ

    @property
    def request_id(self) -> str:
        return next((value for name, value in self.response.headers if name == REQUEST_ID), "")

    def record(self) -> None:
        """Write the line of the request in the log, and count it."""
        self.write_record(time.monotonic() - self.first)

    # ---- what polls and streams do differently ----

    def find_due(self) -> float:
        """Return when tend() has to look at it next."""
        raise NotImplementedError

    def tend(self, now: float) -> None:
        """Do what is due beside a run."""

    def needs_run(self, now: float) -> bool:
        """Return whether the request has to be run although nothing was committed."""
        return now >= min(self.expires_at, self.runs_at)

    def is_over(self, now: float) -> bool:
        """Return whether it has waited long enough."""
        return False

    def may_run(self) -> bool:
        return True

    def goes_on_after(self, response: Response) -> bool:
        """Return whether to go on waiting after this final answer of a run."""
        return False

    def add(self, response: Response, wait: Wait, began: float) -> None:
        """Take the answer of a run that began then and waits."""
        self.began, self.reader_class = began, None
        self.take(response, wait)

    def end(self, response: Response | None, *, is_closed: bool = False) -> None:
        """Send what is to be sent at the end: the answer of the last run, or the last kept one.

        With `is_closed` the connection ends with it.
        """
        raise NotImplementedError

    def drop(self) -> None:
        """Forget the connection: the client is gone."""


class HeldPoll(Held):
    """A request whose only response is sent when its time is over or when there is a result."""

    __slots__ = ("deadline",)

    def __init__(self, exchange: Exchange, response: Response, wait: Wait) -> None:
        super().__init__(exchange, response, wait)
        self.deadline = time.monotonic() + wait.seconds

    def find_due(self) -> float:
        return min(self.deadline, self.expires_at, self.runs_at)

    def is_over(self, now: float) -> bool:
        return now >= self.deadline

    def end(self, response: Response | None, *, is_closed: bool = False) -> None:
        status, headers, body = response or self.response
        own = [(n, self.request_id if n == REQUEST_ID else value) for n, value in headers]
        self.exchange.protocol.response_bytes(status, own + [CLOSE] * is_closed, body)


class HeldStream(Held):
    """A response that is sent in parts: Server-Sent Events.

    granian takes every part at once and keeps it until the client reads. So parts are counted, and
    above a limit there is no run until the kernel has taken all of them.
    """

    __slots__ = ("blocked_since", "checked_at", "sent_at", "transport", "unread")

    def __init__(self, exchange: Exchange, response: Response, wait: Wait) -> None:
        super().__init__(exchange, response, wait)
        # A problem that ends the stream becomes a part of it, so it must not be compressed.
        exchange.environ.pop("HTTP_ACCEPT_ENCODING", None)
        self.unread = 0  # bytes that the kernel may not have taken
        self.blocked_since: float | None = None  # of the monotonic clock
        self.sent_at = self.checked_at = time.monotonic()
        headers = [(n, v) for n, v in response.headers if n.lower() != "content-length"]
        self.transport: StreamTransport | None = exchange.protocol.response_stream(
            response.status, headers
        )
        retry = random.randint(MIN_RETRY_MS, MAX_RETRY_MS)  # noqa: S311 - no secret
        self.send(b"retry: %d\n\n%s" % (retry, response.body))

    def take(self, response: Response, wait: Wait) -> None:
        """Keep the answer without its body, which is sent at once."""
        super().take(Response(response.status, response.headers, b""), wait)

    def send(self, part: bytes) -> None:
        transport = self.transport
        if transport is None:
            return
        self.unread += len(part)
        self.sent_at = time.monotonic()
        if self.unread > MAX_UNREAD_OF_STREAM and self.blocked_since is None:
            self.blocked_since = self.sent_at
        transport.send_bytes(part)

    def unblock(self) -> None:
        """Go on: the kernel has taken everything."""
        self.unread, self.blocked_since = 0, None

    def find_due(self) -> float:
        return min(
            self.sent_at + HEARTBEAT_SECONDS, self.checked_at + RECHECK_SECONDS, self.expires_at
        )

    def tend(self, now: float) -> None:
        if now >= self.sent_at + HEARTBEAT_SECONDS:
            if self.blocked_since is None:
                self.send(HEARTBEAT)
            self.sent_at = now

    def needs_run(self, now: float) -> bool:
        return now >= min(self.checked_at + RECHECK_SECONDS, self.expires_at)

    def may_run(self) -> bool:
        return self.blocked_since is None

    def goes_on_after(self, response: Response) -> bool:
        """Return true for errors that may pass. A browser would not connect again after them."""
        is_passing = response.status >= 500 or response.status == 429
        if is_passing:
            self.checked_at = time.monotonic() - RECHECK_SECONDS + REPEAT_SECONDS
        return is_passing

    def add(self, response: Response, wait: Wait, began: float) -> None:
        super().add(response, wait, began)
        self.checked_at = time.monotonic()
        if response.body:
            self.send(response.body)

    def end(self, response: Response | None, *, is_closed: bool = False) -> None:
        """Send the problem that ended the stream as an event, if there is one."""
        if response is not None and response.status >= 400:
            lines = response.body.replace(b"\n", b" ")
            self.send(b"event: problem\ndata: %s\n\n" % lines)
        self.drop()

    def drop(self) -> None:
        self.transport = None  # granian ends the response with it


def digest_request(environ: Environ) -> bytes:
    """Return a digest of everything on which the answer to a read depends, but for its token."""
    headers = sorted(
        (name, value)
        for name, value in environ.items()
        if name.startswith("HTTP_") and name not in IGNORED_HEADERS
    )
    parts = environ["PATH_INFO"], environ["QUERY_STRING"], environ["wsgi.url_scheme"], headers
    return blake2b(repr(parts).encode("utf-8", "surrogateescape"), digest_size=16).digest()
