"""What the current request of this thread has spent on the database, and a clock."""

from __future__ import annotations

import sys
import threading
import time


class Timings(threading.local):
    """Sums of one thread since reset(). Times are in seconds.

    `queued` is how long the request waited for the thread; 0 outside of requests.
    `lock_wait` is a part of `database`, except the wait of SQLite's writers for each other in the
    process, which comes before any statement.
    """

    queued = 0.0
    database = 0.0  # until the database has answered
    statements = 0
    lock_wait = 0.0

    def add_statement(self, started: float, *, takes_lock: bool = False) -> None:
        """Count a statement that was sent at `started`, by time.perf_counter()."""
        self.statements += 1
        self.add_message(started, takes_lock=takes_lock)

    def add_message(self, started: float, *, takes_lock: bool = False) -> None:
        """Count the time since a message was sent to the database, which has answered now."""
        elapsed = time.perf_counter() - started
        self.database += elapsed
        if takes_lock:
            self.lock_wait += elapsed

    def reset(self, queued: float) -> None:
        self.queued = queued
        self.database, self.statements, self.lock_wait = 0.0, 0, 0.0


timings = Timings()


def read_clock() -> float:
    """Return seconds of a clock that also runs while the machine is suspended.

    All processes of the machine have the same one.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic()
