"""Requests that wait for commits, as taskflow/http/waiting.py describes.

They need no thread, no transaction and no connection to the database. After a commit in its tenant
each is run again: reads by one thread and writes by another, so that however many wait, the
requests that work get their threads. Equal reads share one run.
"""

from __future__ import annotations

import heapq
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import RLock

from taskflow.front.exchange import Exchange, Response, run_application
from taskflow.front.held import Held, HeldPoll, HeldStream
from taskflow.front.limits import (
    HELD_RETRY_SECONDS,
    MAX_HELD,
    MAX_HELD_BODY_BYTES,
    MAX_HELD_OF_TENANT,
    MAX_HELD_OF_TOKEN,
    MAX_WAKES_KEPT,
    SEND_SECONDS,
    TEND_SECONDS,
)
from taskflow.front.protocol import Application, Environ
from taskflow.front.run_queue import RunQueue, list_readers, sort_readers
from taskflow.front.unread import close_connections, find_writable
from taskflow.http.credentials import read_bearer_token
from taskflow.http.errors import Problem, TooManyRequests, problem_of_status
from taskflow.http.unavailable import Overloaded
from taskflow.http.waiting import READER_CLASSES, READERS, WAIT, Wait
from taskflow.metrics.definitions import ABANDONED, HELD, WAKE

log = logging.getLogger("taskflow.front")


class Waits:
    """Keeps the requests that wait, by their tenants, and runs them again."""

    def __init__(self, application: Application) -> None:
        self.application = application
        self.on_wait: Callable[[], object] = lambda: None  # called when a request begins to wait
        self._by_tenant: dict[int, dict[Held, None]] = {}  # none is empty
        self._by_credentials: Counter[int] = Counter()  # how many; none is zero
        self._count = 0
        self._due: list[tuple[float, int, Held]] = []  # a heap; may contain those that have ended
        self._numbers = count()
        self._blocked: set[HeldStream] = set()
        self._woken: dict[int, float] = {}  # when a tenant was last woken, by the monotonic clock
        self._all_woken = 0.0
        self._reads, self._writes = RunQueue(), RunQueue()
        self._threads = {
            self._reads: ThreadPoolExecutor(1, thread_name_prefix="wake-reads"),
            self._writes: ThreadPoolExecutor(1, thread_name_prefix="wake-writes"),
        }
        self._is_stopped = False
        self._lock = RLock()

    def __len__(self) -> int:
        return self._count

    @property
    def is_idle(self) -> bool:
        """Return whether no run is waiting or in progress."""
        return not (self._reads.has_worker or self._writes.has_worker)

    # ---- the beginning ----

    def hold(self, exchange: Exchange, response: Response, wait: Wait) -> None:
        """Keep a request whose first run has ended with nothing. Refuse it if too many wait."""
        if self._is_stopped or not is_body_small(exchange):
            send_now(exchange, response, wait)
            return
        with self._lock:
            problem = self._find_excess(exchange, wait)
            if problem is None:
                self._add_to_counts(exchange, 1)
        if problem is not None:
            exchange.refuse(problem)
            return
        try:
            held = (HeldStream if wait.is_stream else HeldPoll)(exchange, response, wait)
        except BaseException:
            self._add_to_counts(exchange, -1)
            raise
        # Before others can end the request, so that its end removes the callback in any case.
        exchange.watch_client(lambda: self._forget(held))
        with self._lock:
            if held.is_ended:  # the client is gone
                return
            self._by_tenant.setdefault(held.tenant_id, {})[held] = None
            self._schedule(held)
        self._note_blocked(held)
        self.on_wait()
        self._run_if_missed(held, is_due=wait.is_due)

    def _add_to_counts(self, exchange: Exchange, number: int) -> None:
        credentials = hash_credentials(exchange.environ)
        with self._lock:
            self._count += number
            self._by_credentials[credentials] += number
            if not self._by_credentials[credentials]:
                del self._by_credentials[credentials]

    def _find_excess(self, exchange: Exchange, wait: Wait) -> Problem | None:
        """Return the problem of a request beyond the limits; None if it is within them."""
        if self._count >= MAX_HELD:
            return Overloaded("Too many requests wait for commits. Send the request again shortly.")
        if len(self._by_tenant.get(wait.tenant_id, ())) >= MAX_HELD_OF_TENANT:
            return too_many("tenant", MAX_HELD_OF_TENANT)
        if self._by_credentials[hash_credentials(exchange.environ)] >= MAX_HELD_OF_TOKEN:
            return too_many("token", MAX_HELD_OF_TOKEN)
        return None

    # ---- waking: as taskflow/audit/commits/watching.py needs it ----

    def wake(self, tenants: Iterable[int]) -> None:
        """Run the requests again that wait for one of these tenants."""
        now = time.monotonic()
        with self._lock:
            for tenant in tenants:
                self._woken[tenant] = now
                for held in self._by_tenant.get(tenant, ()):
                    self._wake(held, now)

    def wake_all(self) -> None:
        """Run all requests again: commits may have been missed until now."""
        with self._lock:
            self._all_woken = time.monotonic()
            self.wake(tuple(self._by_tenant))

    def list_tenants(self) -> Collection[int]:
        """Return the tenants for which requests wait."""
        with self._lock:
            return tuple(self._by_tenant)

    def _wake(self, held: Held, now: float) -> None:
        held.woken_at = held.woken_at or now
        if not held.is_queued and held.may_run():
            self._queue(held)

    def _queue(self, held: Held) -> None:
        held.is_queued = True
        queue = self._reads if held.is_read else self._writes
        queue.append(held)
        if not queue.has_worker:
            queue.has_worker = True
            self._threads[queue].submit(self._work, queue)

    def _run_if_missed(self, held: Held, *, is_due: bool) -> None:
        """Run the request again if there was a commit since its last run began."""
        with self._lock:
            woken = max(self._woken.get(held.tenant_id, 0.0), self._all_woken)
            if is_due or woken >= held.began:
                self._wake(held, time.monotonic())

    # ---- runs ----

    def _work(self, queue: RunQueue) -> None:
        """Run what is queued until nothing is. Called in the thread of the queue."""
        while True:
            with self._lock:
                run = [held for held in queue.take() if not held.is_ended]
                if not run and not queue:
                    queue.has_worker = False
                    return
            if run:
                try:
                    self._run(run)
                except Exception:  # otherwise nothing would be run any more
                    log.exception("a waiting request could not be run")

    def _run(self, run: list[Held]) -> None:
        """Run one request, and give its answer to all that may get it. Queue the others again."""
        began = time.monotonic()
        first = run[0]
        environ = first.prepare_run(began)
        if readers := list_readers(run):
            environ[READERS] = readers
        response = self._answer(first, environ)
        environ.pop(READERS, None)
        answered, others = sort_readers(run, environ.pop(READER_CLASSES, {}), response)
        wait = environ.pop(WAIT, None)
        ended = [h for h in answered if self._take(h, response, wait, began)]
        with self._lock:
            for held in others:
                self._queue(held)
        for held in ended:  # after the answers, which would wait for the log otherwise
            if held is not first or isinstance(wait, Wait):
                held.record()

    def _answer(self, held: Held, environ: Environ) -> Response:
        try:
            return run_application(self.application, environ)
        except Exception:
            log.exception("a waiting request could not be answered")
            problem = problem_of_status(500)
            body = problem.as_json(held.request_id).encode()
            return Response(500, [("Content-Type", "application/problem+json")], body)

    def _take(self, held: Held, response: Response, wait: object, began: float) -> bool:
        """Let the request take the answer of a run. Return whether it has ended and needs a line in
        the log.
        """
        with self._lock:
            held.is_queued = False
        try:
            if isinstance(wait, Wait):
                return self._go_on(held, response, wait, began)
            if not held.goes_on_after(response):
                return self._end(held, response)
            self._reschedule(held)
        except Exception:  # the others get their answers all the same
            log.exception("a waiting request could not take its answer")
        return False

    def _go_on(self, held: Held, response: Response, wait: Wait, began: float) -> bool:
        """Let the request go on waiting, unless its time is over. Return whether it has ended."""
        woken_at, held.woken_at = held.woken_at, 0.0
        held.add(response, wait, began)
        if wait.is_stream and response.body and woken_at:
            WAKE.observe(time.monotonic() - woken_at)
        self._note_blocked(held)
        if self._is_stopped or held.is_over(time.monotonic()):
            return self._end(held, None, is_closed=self._is_stopped)
        self._reschedule(held)
        self._run_if_missed(held, is_due=wait.is_due)
        return False

    # ---- the end ----

    def _end(self, held: Held, response: Response | None, *, is_closed: bool = False) -> bool:
        """End a request with this answer, or with that of its last run that waited.

        Return whether it has ended now, so that the caller has to write its line in the log.
        """
        if not self._remove(held):
            return False
        if response is not None and held.woken_at:
            WAKE.observe(time.monotonic() - held.woken_at)
        held.end(response, is_closed=is_closed)
        return True

    def _forget(self, held: Held) -> None:
        """Drop a request whose client is gone."""
        if self._remove(held):
            ABANDONED.add()
            held.drop()
            held.record()

    def _remove(self, held: Held) -> bool:
        """Return whether the request was waiting until now. Only one caller gets true."""
        with self._lock:
            if held.is_ended:
                return False
            held.is_ended = True
            self._add_to_counts(held.exchange, -1)
            of_tenant = self._by_tenant.get(held.tenant_id, {})
            of_tenant.pop(held, None)
            if not of_tenant:
                self._by_tenant.pop(held.tenant_id, None)
            if isinstance(held, HeldStream):
                self._blocked.discard(held)
        held.exchange.unwatch()
        return True

    def stop(self) -> None:
        """Answer all requests now: the server stops. From now on none waits."""
        self._is_stopped = True
        with self._lock:
            waiting = [held for of_tenant in self._by_tenant.values() for held in of_tenant]
        for held in waiting:
            if not held.may_be_committing and self._end(held, None, is_closed=True):
                held.record()

    # ---- time ----

    def tend(self, now: float) -> None:
        """End what has waited long enough, send heartbeats, and judge credentials that expire."""
        while held := self._take_due(now):
            if held.is_over(now):
                if not held.may_be_committing and self._end(held, None):
                    held.record()
                continue
            held.tend(now)
            self._note_blocked(held)
            with self._lock:
                if held.needs_run(now) and not held.is_queued and held.may_run():
                    self._queue(held)
                else:  # a stream that is not read cannot be run, although it is due
                    self._schedule(held, earliest=now + TEND_SECONDS)
        if self._blocked:
            self._tend_blocked(now)
        if len(self._woken) > MAX_WAKES_KEPT:
            self._clear_wakes()

    def publish(self) -> None:
        """Set the gauge of waiting requests."""
        HELD.set(self._count)

    def _take_due(self, now: float) -> Held | None:
        with self._lock:
            while self._due and self._due[0][0] <= now:
                due, _, held = heapq.heappop(self._due)
                if not held.is_ended and due == held.due:
                    held.due = 0.0
                    return held
        return None

    def _schedule(self, held: Held, *, earliest: float = 0.0) -> None:
        """Let tend() look at the request when it is due. Call it with the lock."""
        due = max(held.find_due(), earliest)
        if due != held.due:
            held.due = due
            heapq.heappush(self._due, (due, next(self._numbers), held))

    def _reschedule(self, held: Held) -> None:
        with self._lock:
            if not held.is_ended:
                self._schedule(held)

    def _note_blocked(self, held: Held) -> None:
        """Look from now on whether a stream with too much unread is read again."""
        if isinstance(held, HeldStream) and held.blocked_since is not None:
            with self._lock:
                if not held.is_ended:
                    self._blocked.add(held)

    def _tend_blocked(self, now: float) -> None:
        """Go on with streams that are read again. Close those that were not read for too long."""
        with self._lock:
            blocked = tuple(self._blocked)
        writable = find_writable({held.exchange.client for held in blocked})
        closed = set()
        for held in blocked:
            since = held.blocked_since
            if held.exchange.client in writable:
                with self._lock:
                    held.unblock()
                    self._blocked.discard(held)
                self._run_if_missed(held, is_due=bool(held.woken_at))
            elif since is not None and since + SEND_SECONDS < now:
                closed.add(held.exchange.client)
                self._forget(held)
        if closed:
            close_connections(closed)

    def _clear_wakes(self) -> None:
        """Forget when tenants were woken. A run that is in progress is repeated for it."""
        with self._lock:
            self._woken.clear()
            self._all_woken = time.monotonic()


def hash_credentials(environ: Environ) -> int:
    """Return a hash of the token, or of the cookies if there is none."""
    return hash(read_bearer_token(environ) or environ.get("HTTP_COOKIE"))


def is_body_small(exchange: Exchange) -> bool:
    """Return whether the body is short enough to be kept with the request."""
    length = str(exchange.environ.get("CONTENT_LENGTH") or 0)
    return length.isdigit() and int(length) <= MAX_HELD_BODY_BYTES


def send_now(exchange: Exchange, response: Response, wait: Wait) -> None:
    """Send the answer of the first run, without waiting."""
    exchange.protocol.response_bytes(*response)
    wait.write_record(0.0)


def too_many(whose: str, limit: int) -> Problem:
    """Return the problem of a request beyond a limit of waiting requests."""
    return TooManyRequests(
        f"This {whose} has {limit} waiting requests already. End some of them, or share one: a"
        " stream of events serves any number of readers.",
        HELD_RETRY_SECONDS,
    )
