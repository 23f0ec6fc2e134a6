"""Pauses between transactions of long commands and helper processes, for other SQLite writers."""

from __future__ import annotations

import threading
import time

from django.db import connection

# Longer than the 0.1 seconds after which SQLite looks again whether the database is free. On a busy
# machine, transactions take longer, and so must the pauses.
MIN_PAUSE, MAX_PAUSE = 0.12, 0.5  # seconds
MAX_WAIT = 60.0  # seconds that a long command waits for other writers
BATCH_ROWS = 200  # of one transaction; about 0.1 seconds

_local = threading.local()


def pause_for_writers(worked: float | None = None) -> None:
    """Wait until other processes could begin a write. Call it between two transactions.

    It waits for half of the seconds that were worked; None means those since the last pause.

    A command that begins its next transaction at once would keep them out: SQLite has no queue.
    PostgreSQL needs no pause.
    """
    if connection.vendor == "sqlite" and not connection.in_atomic_block:
        if worked is None:
            worked = time.monotonic() - getattr(_local, "paused_at", 0.0)
        time.sleep(max(MIN_PAUSE, min(MAX_PAUSE, worked / 2)))
        _local.paused_at = time.monotonic()
