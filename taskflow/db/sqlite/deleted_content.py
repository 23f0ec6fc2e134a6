"""Removes deleted content from the files of a SQLite database."""

from __future__ import annotations

import logging
import sqlite3

log = logging.getLogger("taskflow.db")

MAX_WAIT = 5  # seconds for other writers and readers
PAGES = 1_000  # of an index that one statement merges, so that other writers wait for a short time
CHANGED_NOTHING = 2  # total_changes of a merge that had nothing to do is below this


def overwrite_deleted_content(path: str) -> None:
    """Remove what was deleted from the full-text indexes, the database file and the -wal file.

    The connections of TaskFlow overwrite deleted content (`PRAGMA secure_delete`). Two places
    remain: entries of full-text indexes, which are only marked as deleted until they are merged,
    and the -wal file, which has former pages until it is truncated. If other connections prevent
    this for too long, a warning is logged, and the next call does it.
    """
    connection = sqlite3.connect(path, timeout=MAX_WAIT, isolation_level=None)
    try:
        connection.execute("PRAGMA secure_delete = ON")
        for table in _full_text_tables(connection):
            _merge(connection, table)
        (is_busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if is_busy:
            log.warning("deleted content is still in the -wal file: other connections read it")
    except sqlite3.OperationalError as error:
        log.warning("deleted content could not be overwritten: %s", error)
    finally:
        connection.close()


def _full_text_tables(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%USING fts5%'"
    )
    return [name for (name,) in rows]


def _merge(connection: sqlite3.Connection, table: str) -> None:
    """Merge all segments of the index into one, in several short transactions."""
    pages = -PAGES  # a negative number begins a complete merge
    while True:
        before = connection.total_changes
        connection.execute(f"INSERT INTO {table} ({table}, rank) VALUES ('merge', ?)", [pages])  # noqa: S608 - a name in the schema
        if connection.total_changes - before < CHANGED_NOTHING:
            return
        pages = PAGES
