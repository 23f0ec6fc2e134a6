"""The session of this thread with the database."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Protocol

from django.db import DEFAULT_DB_ALIAS, connections

if TYPE_CHECKING:
    from taskflow.db.statements import Statement


class Session(Protocol):
    """What both databases offer for statements that are compiled once. See PostgresSession."""

    def execute(
        self, statement: Statement, values: Sequence[Any], *, commit_with: bool = False
    ) -> list[Any]:
        """Run the statement with values for its parameters, in their order. Return its rows.

        With `commit_with` the COMMIT goes along, where allow_early_commit() was called.
        """

    def defer(self, statement: Statement, values: Sequence[Any]) -> None:
        """Run a statement whose rows are not needed: at the latest with the next statement. An
        error of the database is raised then.
        """

    def bind(self, sql: bytes) -> None:
        """Send settings of this transaction before any other statement of it."""

    def allow_early_commit(self) -> None:
        """Let this transaction end with the next query that is sent `commit_with`.

        Call it where nothing can refuse the work afterwards. A later statement begins another
        transaction with the same settings.
        """

    def reserve_write_access(
        self, *, read_only: bool, max_wait: float | None
    ) -> AbstractContextManager[None]:
        """Surround a transaction: only one at a time may write to SQLite."""


_local = threading.local()


def current_session() -> Session:
    """Return this thread's session, which belongs to Django's connection of this thread."""
    try:
        session: Session = _local.session
    except AttributeError:
        session = _local.session = connections[DEFAULT_DB_ALIAS].session  # type: ignore[attr-defined]
    return session
