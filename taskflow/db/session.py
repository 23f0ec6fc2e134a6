"""The interface of both databases for statements that are compiled once."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from taskflow.db.types import Row

if TYPE_CHECKING:
    from taskflow.db.statements import Statement


class Session(Protocol):
    """One thread's session with the database: PostgresSession or SqliteSession.

    `wrapper` is Django's connection of the thread.
    """

    @property
    def wrapper(self) -> BaseDatabaseWrapper: ...

    def execute(
        self, statement: Statement, values: Sequence[object], *, commit_with: bool = False
    ) -> list[Row]:
        """Run the statement with values for its parameters, in their order. Return its rows.

        With `commit_with`, COMMIT is sent in the same message if allow_early_commit() was called
        before. Raises Django's database errors.
        """

    def defer(self, statement: Statement, values: Sequence[object]) -> None:
        """Run a statement whose rows are not needed, now or together with the next statement.

        A database error is raised by whichever call sends the statement.
        """

    def set_transaction_settings(self, values: Mapping[str, str]) -> None:
        """Set parameters of the server for the rest of this transaction.

        They are sent before any other statement of it. The values are written into the SQL, so they
        must not come from a request.
        """

    def read_snapshots(self, *, has_deadlines: bool = False) -> AbstractContextManager[None]:
        """Make each transaction that begins inside read one snapshot.

        It may take as long as it needs, such as an export, unless it `has_deadlines`. The settings
        are those of the transactions: settings of the session would reach other clients of a
        pooler.
        """

    def allow_early_commit(self) -> None:
        """Allow this transaction to be committed with the next query that is run `commit_with`.

        Call it when no later step can make the work fail. A statement after the COMMIT begins
        another transaction with the same settings.
        """

    def open_transaction(
        self, *, read_only: bool, max_wait: float | None
    ) -> AbstractContextManager[None]:
        """Return a context manager: transaction.atomic() with reserve_write_access()."""

    def reserve_write_access(
        self, *, read_only: bool, max_wait: float | None
    ) -> AbstractContextManager[None]:
        """Return a context manager for a transaction, which SQLite's single write lock protects.

        With `read_only` it does not wait for the lock. Otherwise it waits for at most `max_wait`
        seconds, by default those of the settings, and then raises OperationalError. PostgreSQL
        has no such lock.
        """

    def overwrite_deleted_content(self) -> None:
        """Remove deleted content from the files of the database, where the client can do so.

        Call it outside a transaction. PostgreSQL does it by VACUUM.
        """

    def prepare_server(self) -> None:
        """Do what a server needs and a command does not, for all sessions of this process.

        On PostgreSQL, start what ends waits for a silent database. On SQLite, create no file in
        place of one that is missing. To be called once after the fork.
        """


_local = threading.local()


def current_session() -> Session:
    """Return this thread's session, which belongs to Django's connection of this thread."""
    try:
        session: Session = _local.session
    except AttributeError:
        session = _local.session = connections[DEFAULT_DB_ALIAS].session  # type: ignore[attr-defined]
    return session
