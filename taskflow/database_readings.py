"""What /metrics reads from the database at each scrape. No request pays for it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from shutil import disk_usage

from django.db import Error as DatabaseError
from django.db import connection, transaction

from taskflow.audit.models import Event
from taskflow.metrics.exposition import Reading
from taskflow.tenancy import PLATFORM_ROLE, has_roles
from tasks.models import DeliveryQueue

log = logging.getLogger("taskflow.metrics")
EVENTS = "taskflow_events_total"
DATABASE_BYTES = "taskflow_database_bytes"
WAL_BYTES = "taskflow_database_wal_bytes"
DISK_FREE = "taskflow_database_disk_free_bytes"
SESSIONS = "taskflow_database_sessions"
MAX_SESSIONS = "taskflow_database_max_sessions"
OPEN_CLAIMS = "taskflow_claims_open"
WAITING_FOR_LOCKS = "taskflow_database_sessions_waiting_for_locks"
OLDEST_TRANSACTION = "taskflow_database_oldest_transaction_seconds"
WEBHOOK_BACKLOG = "taskflow_webhook_backlog"
WEBHOOK_OLDEST = "taskflow_webhook_oldest_seconds"
READINGS = {
    EVENTS: "The highest id of an event. Transactions that are rolled back leave ids out.",
    DATABASE_BYTES: "Size of the database.",
    WAL_BYTES: "Size of SQLite's log of transactions that are not in the main file yet.",
    DISK_FREE: "Free space on the disk of SQLite's file, for the user of the server.",
    SESSIONS: "Connections to the database of all its clients. PostgreSQL only.",
    MAX_SESSIONS: "Connections that PostgreSQL allows.",
    WAITING_FOR_LOCKS: "Connections that wait for locks now. PostgreSQL only.",
    OLDEST_TRANSACTION: "Age of the oldest open transaction. Readers of the event log get nothing"
    " that was committed after its beginning. PostgreSQL only.",
    OPEN_CLAIMS: "Claims of tasks that have neither ended nor expired. On PostgreSQL only if the"
    " login may become the role of the platform.",
    WEBHOOK_BACKLOG: "Deliveries of webhooks that are not accepted yet.",
    WEBHOOK_OLDEST: "Age of the oldest of them; 0 without any.",
}
STATEMENT_TIMEOUT = "1s"
POSTGRESQL_SQL = """
SELECT (SELECT last_value FROM pg_sequences
        WHERE schemaname = current_schema() AND sequencename = %s),
       pg_database_size(current_database()),
       count(*),
       current_setting('max_connections')::int,
       count(*) FILTER (WHERE wait_event_type = 'Lock'),
       coalesce(extract(epoch FROM clock_timestamp() - min(xact_start)
                        FILTER (WHERE pid <> pg_backend_pid())), 0)
FROM pg_stat_activity WHERE datname = current_database()
"""
SQLITE_SQL = """
SELECT seq, (SELECT count(*) FROM tasks_claim WHERE ended_at IS NULL
             AND expires_at > strftime('%%Y-%%m-%%d %%H:%%M:%%f', 'now'))
FROM sqlite_sequence WHERE name = %s
"""
# Row-level security lets no other role count the rows of all tenants.
MAY_BECOME_PLATFORM = "SELECT pg_has_role(session_user, %s, 'SET')"
OPEN_CLAIMS_SQL = """
SELECT count(*) FROM tasks_claim WHERE ended_at IS NULL AND expires_at > clock_timestamp()
"""


def read_database_on_a_usable_connection() -> dict[str, float]:
    """As read_database(), for a thread that is in no transaction and outlives its connection."""
    connection.close_if_unusable_or_obsolete()
    return read_database()


def read_database() -> dict[str, float]:
    """Return the values of READINGS that this database has, by name. Five statements at most.

    Empty if the database does not answer; the log has the reason.
    """
    read: Mapping[str, Callable[[], dict[str, float]]] = {
        "postgresql": _read_postgresql,
        "sqlite": _read_sqlite,
    }
    try:
        return read[connection.vendor]()
    except DatabaseError as error:
        log.warning("the database was not read for /metrics: %s", error)
        return {}


def as_readings(values: Mapping[str, float]) -> list[Reading]:
    """Return the values for the text of /metrics, and whether there are any."""
    is_up = Reading("taskflow_database_up", "Whether the database has answered this scrape.")
    is_up.values = {(): float(bool(values))}
    kinds = {EVENTS: "counter"}
    return [
        is_up,
        *(
            Reading(name, READINGS[name], kinds.get(name, "gauge"), values={(): value})
            for name, value in values.items()
        ),
    ]


def _read_postgresql() -> dict[str, float]:
    names = (EVENTS, DATABASE_BYTES, SESSIONS, MAX_SESSIONS, WAITING_FOR_LOCKS, OLDEST_TRANSACTION)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}'")
        cursor.execute(POSTGRESQL_SQL, [f"{Event._meta.db_table}_id_seq"])
        row = cursor.fetchone()
        values = {name: float(value or 0) for name, value in zip(names, row, strict=True)}
        return _read_backlog() | values | _read_open_claims()


def _read_open_claims() -> dict[str, float]:
    """Return the number of open claims of all tenants; nothing if the login may not count them."""
    if not has_roles(connection):
        return {}
    with connection.cursor() as cursor:
        cursor.execute(MAY_BECOME_PLATFORM, [PLATFORM_ROLE])
        if not cursor.fetchone()[0]:
            return {}
        cursor.execute(f"SET LOCAL ROLE {PLATFORM_ROLE}")
        cursor.execute(OPEN_CLAIMS_SQL)
        return {OPEN_CLAIMS: float(cursor.fetchone()[0])}


def _read_sqlite() -> dict[str, float]:
    with connection.cursor() as cursor:
        cursor.execute(SQLITE_SQL, [Event._meta.db_table])
        row = cursor.fetchone()
    file = str(connection.settings_dict["NAME"])
    wal = Path(f"{file}-wal")
    return _read_backlog() | {
        EVENTS: float(row[0] if row else 0),
        OPEN_CLAIMS: float(row[1] if row else 0),
        DATABASE_BYTES: float(Path(file).stat().st_size),
        WAL_BYTES: float(wal.stat().st_size if wal.exists() else 0),
        DISK_FREE: float(disk_usage(file).free),
    }


def _read_backlog() -> dict[str, float]:
    waiting, seconds = DeliveryQueue.read_backlog()
    return {WEBHOOK_BACKLOG: float(waiting), WEBHOOK_OLDEST: seconds}
