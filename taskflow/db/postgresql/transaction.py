"""The transaction of a unit of work, with a third of the calls of transaction.atomic()."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from django.db import transaction

if TYPE_CHECKING:
    from taskflow.db.postgresql.base import DatabaseWrapper


class OutermostTransaction:
    """Does what transaction.atomic() does on an idle connection.

    It begins and commits itself. Everything else, such as a rollback, it leaves to an atomic block
    of Django, which is that of this transaction.
    """

    def __init__(self, wrapper: DatabaseWrapper) -> None:
        self.wrapper, self.atomic = wrapper, transaction.atomic()

    def __enter__(self) -> None:
        wrapper = self.wrapper
        wrapper.close_if_health_check_failed()
        if wrapper.connection is None:
            wrapper.ensure_connection()
        wrapper.commit_on_exit, wrapper.needs_rollback = True, False
        wrapper.session.begin()
        wrapper.autocommit, wrapper.in_atomic_block = False, True
        wrapper.atomic_blocks.append(self.atomic)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        wrapper = self.wrapper
        if error is not None or wrapper.needs_rollback or wrapper.closed_in_transaction:
            self.atomic.__exit__(kind, error, trace)
            return
        try:
            with wrapper.wrap_database_errors:
                wrapper.session.commit()
        except BaseException as failure:
            self.atomic.__exit__(type(failure), failure, failure.__traceback__)
            raise
        wrapper.atomic_blocks.pop()
        wrapper.autocommit, wrapper.in_atomic_block = True, False
        wrapper.errors_occurred = False  # a COMMIT means that the connection works
        if wrapper.run_on_commit:
            wrapper.run_and_clear_commit_hooks()
