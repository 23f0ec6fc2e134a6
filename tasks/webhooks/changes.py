"""Whether anything was committed since the last look, at the cost of one small statement."""

from __future__ import annotations

from django.db import connection

from taskflow.audit.models import Event

POSTGRESQL_SQL = """
SELECT last_value, pg_snapshot_xmin(pg_current_snapshot())::text::bigint,
       pg_snapshot_xmax(pg_current_snapshot())::text::bigint
FROM pg_sequences WHERE schemaname = current_schema() AND sequencename = %s
"""
SQLITE_SQL = "PRAGMA data_version"


class ChangeSignal:
    """Whether there may be new events of any tenant, for one deliverer.

    has_changed() may return true without new events, but never false with some. On SQLite it
    compares the version of the file, on PostgreSQL the number of the newest event. An event gets
    its number before it is committed, so that it returns true until all transactions have ended
    that were open when the number changed.
    """

    def __init__(self) -> None:
        self.seen: int | None = None
        self.have_all_ended = False
        self.awaited_id: int | None = None  # the id of a transaction; None until the second look

    def has_changed(self) -> bool:
        """Return whether something may have been committed since the last call."""
        if connection.vendor == "postgresql":
            return self._has_new_number()
        with connection.cursor() as cursor:
            cursor.execute(SQLITE_SQL)
            (version,) = cursor.fetchone()
        former, self.seen = self.seen, version
        return bool(former != version)

    def _has_new_number(self) -> bool:
        with connection.cursor() as cursor:
            cursor.execute(POSTGRESQL_SQL, [f"{Event._meta.db_table}_id_seq"])
            row = cursor.fetchone()
        number, oldest_running, next_id = row or (None, 0, 0)
        if number is None:  # this login may not read the sequence, or it was never used
            return True
        if number != self.seen:
            self.seen, self.awaited_id, self.have_all_ended = number, None, False
            return True
        if self.have_all_ended:
            return False
        if self.awaited_id is None:
            self.awaited_id = next_id
        elif oldest_running >= self.awaited_id:
            self.have_all_ended = True
        return True
