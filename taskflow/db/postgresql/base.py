"""Django's PostgreSQL backend. Its connection leaves the transaction to a PostgresSession, and its
cursors send what is deferred before their own statements.
"""

from __future__ import annotations

from typing import Any

from django.db.backends.postgresql.base import DatabaseWrapper as DjangoWrapper
from django.db.backends.postgresql.features import DatabaseFeatures as DjangoFeatures
from django.db.backends.utils import debug_transaction
from psycopg import ClientCursor

from taskflow.db.postgresql.session import PostgresSession


class FlushingCursor(ClientCursor[Any]):
    """Django's kind of cursor, which writes values into the text, after what is deferred."""

    session: PostgresSession | None = None  # None while Django sets the connection up

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        if self.session is not None:
            self.session.flush()
        return super().execute(*args, **kwargs)

    def executemany(self, *args: Any, **kwargs: Any) -> None:
        if self.session is not None:
            self.session.flush()
        super().executemany(*args, **kwargs)

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


class DatabaseWrapper(DjangoWrapper):
    features_class = DatabaseFeatures

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.session = PostgresSession(self)

    def get_connection_params(self) -> dict[str, Any]:
        return {**super().get_connection_params(), "cursor_factory": FlushingCursor}

    def init_connection_state(self) -> None:
        super().init_connection_state()
        self.session.attach(self.connection)

    def create_cursor(self, name: Any = None) -> Any:
        cursor = super().create_cursor(name)
        if name is None:
            cursor.session = self.session
        else:  # of psycopg's own class, and used at once
            self.session.flush()
        return cursor

    def is_usable(self) -> bool:
        """Trust a connection that has nothing to say: one that the server has closed can be read
        from. This spares the round trip of Django's health check.
        """
        if not self.errors_occurred and self.session.is_quiet():
            return True
        return bool(super().is_usable())

    # ---- transactions ----

    def _set_autocommit(self, autocommit: bool) -> None:
        """Psycopg stays in autocommit mode, since the session sends BEGIN and COMMIT."""
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
        self.session.discard()
        super()._savepoint_rollback(sid)  # type: ignore[misc]  # not in the stubs
