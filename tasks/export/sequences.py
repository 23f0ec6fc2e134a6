"""The sequences from which the ids of a table are taken."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from django.db import connection, transaction

from taskflow.tenancy import across_tenants, has_roles


def read_sequence(table: str) -> int:
    """Return the last id that the table has given to a row, also to one deleted since; 0 if none.

    One query. On PostgreSQL the value is that of now, even in a transaction that reads a snapshot.
    """
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT seq FROM sqlite_sequence WHERE name = %s", [table])
        else:
            cursor.execute(
                "SELECT pg_sequence_last_value(pg_get_serial_sequence(%s, 'id')::regclass)", [table]
            )
        row = cursor.fetchone()
    return int(row[0] or 0) if row else 0


def set_sequences(last_ids: dict[str, int]) -> None:
    """Let the ids of each table continue after this one. For tables without concurrent writers.

    PostgreSQL does not roll this back. One query per table.
    """
    with _as_platform(), connection.cursor() as cursor:
        for table, last_id in last_ids.items():
            if connection.vendor == "sqlite":
                _write_sqlite_sequence(table, last_id)
            elif last_id:
                cursor.execute(
                    "SELECT setval(pg_get_serial_sequence(%s, 'id'), %s)", [table, last_id]
                )


def advance_sequence(table: str, count: int) -> int:
    """Reserve the next `count` ids of the table, without a gap. Return the first.

    The time does not depend on the count.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            first = read_sequence(table) + 1
            _write_sqlite_sequence(table, first + count - 1)
            return first
        # Without the lock, an insert at the same time could use an id in between.
        cursor.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
        cursor.execute("SELECT nextval(pg_get_serial_sequence(%s, 'id'))", [table])
        first = int(cursor.fetchone()[0])
        if count > 1:
            set_sequences({table: first + count - 1})
        return first


def _write_sqlite_sequence(table: str, last_id: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM sqlite_sequence WHERE name = %s", [table])
        cursor.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (%s, %s)", [table, last_id])


def _as_platform() -> AbstractContextManager[None]:
    """Become the platform role on PostgreSQL: the app role may use a sequence, but not set it."""
    if connection.vendor == "postgresql" and has_roles(connection):
        return across_tenants("set the sequences of a restored database")
    return nullcontext()
