"""The connections of ?pool=true, which the threads of a process share.

psycopg's pool connects in threads of its own: a client waits for its whole timeout although the
server has refused the connection, and after an outage for the pool's next attempt. Here the thread
that needs a connection makes it, so an error is raised at once and the next request tries again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import psycopg
from psycopg.pq import TransactionStatus

from taskflow.db.causes import NO_FREE_CONNECTION
from taskflow.db.postgresql.deadlines import WatchedConnection

WAIT_SECONDS = 1.0


class NoFreeConnection(psycopg.OperationalError):
    """Other threads have taken all connections of the pool for too long."""

    sqlstate = NO_FREE_CONNECTION


class Pool:
    """Up to `size` connections. The one that was used last is given first."""

    def __init__(self, connect: Callable[[], WatchedConnection], size: int) -> None:
        self._connect = connect
        self._idle: list[WatchedConnection] = []
        self._permits = threading.BoundedSemaphore(size)

    def take(self) -> WatchedConnection:
        """Return a connection, after up to WAIT_SECONDS. Give it back with put().

        Raises NoFreeConnection after that time, and what connecting raises.
        """
        if not self._permits.acquire(timeout=WAIT_SECONDS):
            raise NoFreeConnection(f"No connection was free for {WAIT_SECONDS:g} s.")
        try:
            return self._take_idle() or self._connect()
        except BaseException:
            self._permits.release()
            raise

    def put(self, connection: WatchedConnection) -> None:
        """Take a connection back. One that is in a transaction or broken is closed."""
        if connection.info.transaction_status == TransactionStatus.IDLE:
            self._idle.append(connection)
        else:
            connection.close()
        self._permits.release()

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().close()

    def _take_idle(self) -> WatchedConnection | None:
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread may have taken the last one
                return None
            if not connection.watch.is_outlived and not connection.has_unread_data():
                return connection
            connection.close()
