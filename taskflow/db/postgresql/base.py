"""Django's PostgreSQL backend with three differences: a PostgresSession begins and ends
transactions, cursors send deferred statements before their own, and every wait has an end.
"""

from __future__ import annotations

import time
from typing import Any

from django.db.backends.postgresql.base import DatabaseWrapper as DjangoWrapper
from django.db.backends.postgresql.features import DatabaseFeatures as DjangoFeatures
from django.db.backends.utils import debug_transaction
from psycopg import ClientCursor, IsolationLevel

from taskflow.db.open_connections import track
from taskflow.db.postgresql.deadlines import WatchedConnection
from taskflow.db.postgresql.pool import Pool
from taskflow.db.postgresql.session import PostgresSession
from taskflow.db.postgresql.statement import ROW_LOCK
from taskflow.metrics.timing import timings


class FlushingCursor(ClientCursor):
    """A client-side cursor, as Django uses it, that sends deferred statements before its own."""

    session: PostgresSession | None = None  # None while Django initializes the connection

    def execute(self, query: Any, *args: Any, **kwargs: Any) -> Any:
        if self.session is not None:
            self.session.flush()
        started = time.perf_counter()
        try:
            return super().execute(query, *args, **kwargs)
        finally:
            takes_lock = isinstance(query, str) and ROW_LOCK.search(query) is not None
            timings.add_statement(started, takes_lock=takes_lock)

    def executemany(self, *args: Any, **kwargs: Any) -> None:
        if self.session is not None:
            self.session.flush()
        started = time.perf_counter()
        try:
            super().executemany(*args, **kwargs)
        finally:
            timings.add_statement(started)

    def copy(self, *args: Any, **kwargs: Any) -> Any:
        if self.session is not None:
            self.session.flush()
        return super().copy(*args, **kwargs)


class DatabaseFeatures(DjangoFeatures):
    # The first version that has GRANT … WITH INHERIT, SET: see the migrate command. Django refuses
    # an older server at the first connection.
    minimum_database_version = (16,)
    # The primary key of a tenant-owned table is (tenant_id, id). PostgreSQL then refuses a GROUP BY
    # that names the id alone, so Django has to name every selected column.
    allows_group_by_selected_pks = False


_pools: dict[str, Pool] = {}  # of this process, by alias


class DatabaseWrapper(DjangoWrapper):
    features_class = DatabaseFeatures

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.session = PostgresSession(self)
        track(self)

    # ---- connections ----

    @property
    def shared_connections(self) -> Pool | None:
        """The pool of this process, or None without ?pool=true.

        Django's own pool is off: it is chosen by OPTIONS["pool"].
        """
        size = self.settings_dict["OPTIONS"].get("pool_size")
        if not size:
            return None
        if self.alias not in _pools:
            _pools.setdefault(self.alias, Pool(self._connect_for_pool, size))
        return _pools[self.alias]

    def close_pool(self) -> None:
        if pool := _pools.pop(self.alias, None):
            pool.close()

    def get_connection_params(self) -> dict[str, Any]:
        parameters = super().get_connection_params()
        parameters.pop("pool_size", None)
        return {**parameters, "cursor_factory": FlushingCursor}

    def get_new_connection(self, conn_params: dict[str, Any]) -> WatchedConnection:
        self.isolation_level = IsolationLevel.READ_COMMITTED
        pool = self.shared_connections
        return pool.take() if pool else WatchedConnection.connect(**conn_params)

    def _connect_for_pool(self) -> WatchedConnection:
        return WatchedConnection.connect(**self.get_connection_params(), autocommit=True)

    def _close(self) -> None:
        if self.connection is None:
            return
        if pool := self.shared_connections:
            pool.put(self.connection)
            self.connection = None
        else:
            with self.wrap_database_errors:
                self.connection.close()

    def init_connection_state(self) -> None:
        super().init_connection_state()
        self.session.use_connection(self.connection)

    def create_cursor(self, name: str | None = None) -> Any:
        cursor = super().create_cursor(name)
        if name is None:
            cursor.session = self.session
        else:  # a server-side cursor of psycopg, which is executed at once
            self.session.flush()
        return cursor

    def is_usable(self) -> bool:
        """Return whether the connection can be used, without a round trip in the usual case.

        A connection that the server has closed has unread data. If there is none, Django's health
        check is not needed.
        """
        if self.connection is None or self.connection.watch.is_outlived:
            return False
        if not self.errors_occurred and not self.connection.has_unread_data():
            return True
        return bool(super().is_usable())

    # ---- transactions ----

    def _set_autocommit(self, autocommit: bool) -> None:
        """Keep psycopg in autocommit mode, because the session sends BEGIN and COMMIT."""
        if not autocommit:
            self.session.begin()
        elif not self.connection.autocommit:
            with self.wrap_database_errors:
                self.connection.autocommit = True

    def _commit(self) -> None:
        if self.connection is not None:
            with debug_transaction(self, "COMMIT"), self.wrap_database_errors:
                self.session.commit()

    def _rollback(self) -> None:
        if self.connection is not None:
            with debug_transaction(self, "ROLLBACK"), self.wrap_database_errors:
                self.session.rollback()

    def _savepoint_rollback(self, sid: str) -> None:
        # Everything that was deferred before the savepoint was sent with it.
        self.session.discard_pending()
        super()._savepoint_rollback(sid)  # type: ignore[misc]  # not in the stubs
