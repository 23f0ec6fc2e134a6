"""How many connections to the database the threads of this process hold."""

from __future__ import annotations

from threading import Lock
from weakref import WeakSet

from django.db.backends.base.base import BaseDatabaseWrapper

from taskflow.metrics.definitions import DATABASE_CONNECTIONS

# One for each thread. It goes with its thread, and the connection with it.
_wrappers: WeakSet[BaseDatabaseWrapper] = WeakSet()
_lock = Lock()


def track(wrapper: BaseDatabaseWrapper) -> None:
    """Count the connection of a new wrapper while it has one."""
    with _lock:
        _wrappers.add(wrapper)


def publish_connections() -> None:
    """Set the gauge of connections."""
    with _lock:
        count = sum(wrapper.connection is not None for wrapper in _wrappers)
    DATABASE_CONNECTIONS.set(count)
