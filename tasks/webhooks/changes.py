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
    """Tells one deliverer whether there may be new events of any tenant.

    It may say so once too often, never too seldom. On SQLite it compares the version of the file,
    on PostgreSQL the number of the newest event. An event gets its number before it is committed,
    so that this says yes until all transactions have ended that were open when the number changed.
    """

    def __init__(self) -> None:
        self.seen: int | None = None
        self.is_settled = False
        self.settles_at: int | None = None  # the id of a transaction; None until the second look

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
            self.seen, self.settles_at, self.is_settled = number, None, False
            return True
        if self.is_settled:
            return False
        if self.settles_at is None:
            self.settles_at = next_id
        elif oldest_running >= self.settles_at:
            self.is_settled = True
        return True
