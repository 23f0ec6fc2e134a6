"""Requests that wait for a thread, and those that have one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import Lock

from taskflow.front.clients import Client, find_address
from taskflow.front.exchange import Exchange
from taskflow.front.limits import MAX_WAIT_SECONDS, MAX_WAITING, WATCH_AFTER_SECONDS
from taskflow.front.protocol import Application, Environ
from taskflow.front.shares import WriteShares, find_writer
from taskflow.front.waiting import WaitingRequests
from taskflow.http.unavailable import Overloaded
from taskflow.metrics.definitions import IN_FLIGHT, QUEUE, WAITING

log = logging.getLogger("taskflow.front")
Work = Callable[[Exchange], None]


def run_here(work: Work, exchange: Exchange) -> None:
    work(exchange)


class Lane:
    """Answers up to `slots` requests at the same time, and then those that wait.

    The thread that brings a request answers it, and then those that have waited meanwhile. So a
    request is not passed from thread to thread, which would cost 10 % of its CPU. `start` runs
    the work elsewhere, for example in the threads of a pool. Writes get a slot only within their
    `shares`: all slots, if it is None. Clients take turns: `identify` returns that of a request,
    and `learn` is called for each request that was answered.
    """

    def __init__(
        self,
        name: str,
        application: Application,
        slots: int,
        start: Callable[[Work, Exchange], object] = run_here,
        shares: WriteShares | None = None,
        *,
        identify: Callable[[Environ], Client] = find_address,
        learn: Callable[[Environ], object] = lambda _: None,
    ) -> None:
        self.name, self.application = name, application
        self._slots = self._free = slots
        self._start = start
        self._shares = shares or WriteShares(slots, slots)
        self._waiting = WaitingRequests(identify)
        self._learn = learn
        self._lock = Lock()

    @property
    def is_idle(self) -> bool:
        return self._free == self._slots

    def submit(self, exchange: Exchange) -> None:
        """Answer the request when it gets a slot. Refuse one if too many wait then."""
        exchange.waits_since = time.monotonic()
        exchange.writer = find_writer(exchange.environ)
        with self._lock:
            if self._free and self._shares.may_begin(exchange):
                self._free -= 1
                self._shares.begin(exchange)
                has_slot, excess = True, None
            else:
                self._waiting.append(exchange)
                has_slot, excess = False, self._waiting.take_excess(MAX_WAITING)
        if has_slot:
            self._start(self._work, exchange)
        elif excess is not None:
            excess.refuse(Overloaded())

    def tend(self, now: float) -> None:
        """Refuse what has waited too long, and notice whose clients are gone."""
        if not self._waiting:
            return
        with self._lock:
            overdue = self._waiting.take_older_than(now - MAX_WAIT_SECONDS)
            for exchange in self._waiting.list_unwatched(now - WATCH_AFTER_SECONDS):
                exchange.watch_client()
        for exchange in overdue:
            QUEUE.observe(now - exchange.waits_since, (self.name,))
            exchange.refuse(Overloaded())

    def publish(self) -> None:
        """Set the gauges of this lane."""
        IN_FLIGHT.set(self._slots - self._free, (self.name,))
        WAITING.set(len(self._waiting), (self.name,))

    def _work(self, first: Exchange) -> None:
        exchange: Exchange | None = first
        while exchange is not None:
            waited = time.monotonic() - exchange.waits_since
            QUEUE.observe(waited, (self.name,))
            try:
                exchange.answer(self.application, waited)
                self._learn(exchange.environ)
            except Exception:  # otherwise the slot would be lost until the worker ends
                log.exception("a response could not be sent")
            exchange = self._take_next(exchange)

    def _take_next(self, answered: Exchange) -> Exchange | None:
        """Return the request whose turn it is, or None after giving the slot back.

        While a slot is free, only writes without a share wait. A write that ends leaves its share
        to one of them, which is taken here.
        """
        with self._lock:
            self._shares.end(answered)
            following = self._waiting.take(self._shares.may_begin)
            if following is None:
                self._free += 1
            else:
                self._shares.begin(following)
            return following
