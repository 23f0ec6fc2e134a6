"""One process at a time sets up a database: applies migrations, or creates the demo.

Several servers may start on one empty database at the same moment.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg.pq import TransactionStatus

LOCK_KEY = 8_217_385  # of PostgreSQL's advisory locks, which belong to one database
POLL_SECONDS = 0.2


@contextmanager
def hold_setup_lock(
    connection: BaseDatabaseWrapper, on_wait: Callable[[], object] | None = None
) -> Iterator[None]:
    """Wait until no other process holds the lock of this database, and hold it.

    `on_wait` is called once before a wait, which has no limit. A process that ends gives its lock
    back. On PostgreSQL the lock belongs to the session, so the connection must not go through a
    pooler. On SQLite no connection is opened: the directory of the file is locked.
    """
    hold = _hold_advisory_lock if connection.vendor == "postgresql" else _hold_directory
    with hold(connection, on_wait):
        yield


@contextmanager
def _hold_advisory_lock(
    connection: BaseDatabaseWrapper, on_wait: Callable[[], object] | None
) -> Iterator[None]:
    # A statement that waits would hold a snapshot, for which CREATE INDEX CONCURRENTLY would wait.
    _repeat_until(lambda: _call(connection, "pg_try_advisory_lock"), on_wait)
    try:
        yield
    finally:
        _unlock(connection)


def _unlock(connection: BaseDatabaseWrapper) -> None:
    """Give the lock back. A connection that is gone holds none."""
    session = connection.connection
    if session is None or session.closed:
        return
    if session.info.transaction_status == TransactionStatus.INERROR:
        session.rollback()  # a transaction that has failed cannot call anything
    _call(connection, "pg_advisory_unlock")


def _call(connection: BaseDatabaseWrapper, function: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}(%s)", [LOCK_KEY])
        return bool(cursor.fetchone()[0])


@contextmanager
def _hold_directory(
    connection: BaseDatabaseWrapper, on_wait: Callable[[], object] | None
) -> Iterator[None]:
    # Not a lock on the file itself: a process that closes the file loses SQLite's own locks.
    descriptor = os.open(Path(connection.settings_dict["NAME"]).absolute().parent, os.O_RDONLY)
    try:
        _repeat_until(lambda: _lock(descriptor), on_wait)
        yield
    finally:
        os.close(descriptor)  # which gives the lock back


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _repeat_until(is_locked: Callable[[], bool], on_wait: Callable[[], object] | None) -> None:
    if is_locked():
        return
    if on_wait is not None:
        on_wait()
    while not is_locked():
        time.sleep(POLL_SECONDS)
