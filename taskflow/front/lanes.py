"""Requests that wait for a thread, and those that have one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import Lock

from taskflow.front.exchange import Exchange
from taskflow.front.limits import MAX_WAIT_SECONDS, MAX_WAITING, WATCH_AFTER_SECONDS
from taskflow.front.protocol import Application
from taskflow.front.waiting import WaitingRequests
from taskflow.http.errors import Overloaded
from taskflow.metrics.definitions import IN_FLIGHT, QUEUE, WAITING

log = logging.getLogger("taskflow.front")
Work = Callable[[Exchange], None]


def run_here(work: Work, exchange: Exchange) -> None:
    work(exchange)


class Lane:
    """Answers up to `slots` requests at the same time, and then those that wait.

    The thread that brings a request answers it, and then those that have waited meanwhile. So a
    request is not passed from thread to thread, which would cost 10 % of its CPU. `start` runs
    the work elsewhere, for example in the threads of a pool.
    """

    def __init__(
        self,
        name: str,
        application: Application,
        slots: int,
        start: Callable[[Work, Exchange], object] = run_here,
    ) -> None:
        self.name, self.application = name, application
        self._slots = self._free = slots
        self._start = start
        self._waiting = WaitingRequests()
        self._lock = Lock()

    @property
    def is_idle(self) -> bool:
        return self._free == self._slots

    def submit(self, exchange: Exchange) -> None:
        """Answer the request as soon as a slot is free. Refuse it if too many wait already."""
        exchange.waits_since = time.monotonic()
        with self._lock:
            if self._free:
                self._free -= 1
                is_accepted = has_slot = True
            else:
                is_accepted = len(self._waiting) < MAX_WAITING
                has_slot = False
                if is_accepted:
                    self._waiting.append(exchange)
        if has_slot:
            self._start(self._work, exchange)
        elif not is_accepted:
            exchange.refuse(Overloaded())

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
            except Exception:  # otherwise the slot would be lost until the worker ends
                log.exception("a response could not be sent")
            exchange = self._take_next()

    def _take_next(self) -> Exchange | None:
        """Return the request whose turn it is, or None after giving the slot back."""
        with self._lock:
            if self._waiting:
                return self._waiting.take()
            self._free += 1
            return None
