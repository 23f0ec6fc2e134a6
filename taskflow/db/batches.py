"""Pauses between the transactions of long commands, which let other writers of SQLite in."""

from __future__ import annotations

import time

from django.db import connection

# Longer than the 0.1 seconds after which SQLite looks again whether the database is free.
PAUSE_SECONDS = 0.12
MAX_WAIT = 60.0  # seconds that a long command waits for other writers
BATCH_ROWS = 500  # of one transaction; about 0.2 seconds


def pause_for_writers() -> None:
    """Wait until other processes could begin a write. Call it between two transactions.

    A command that begins its next transaction at once would keep them out: SQLite has no queue.
    PostgreSQL needs no pause.
    """
    if connection.vendor == "sqlite" and not connection.in_atomic_block:
        time.sleep(PAUSE_SECONDS)
