"""The statistics from which SQLite plans statements: the same in every database.

SQLite's planner takes from `sqlite_stat1` how many rows share the values of an index's first
columns. ANALYZE would write the numbers of the present rows, and a plan that suits a small or empty
table would stay when the table grows. Without statistics the planner chooses bad plans. So
`migrate` writes rows that follow from the names of the columns alone. Plans then never depend on
the data, and tests have the plans of production. Nothing may run ANALYZE or PRAGMA optimize later.
If an operator does, a server writes them again with its next connection: a database that was
analyzed while it was empty reads all tasks of the tenant for each task of a list.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from django.db import OperationalError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

if TYPE_CHECKING:
    from django.db.backends.utils import CursorWrapper

log = logging.getLogger("taskflow.sqlite")

ROWS = 1_000_000  # in every table, as the planner is to assume
ROWS_OF_TENANT = 100_000
VALUES = {"status": 3, "priority_rank": 3, "is_published": 2}  # number of values of a column
DISTINCT = frozenset(
    {
        "id",
        "number",
        "digest",
        "key",
        "name",
        "handle",
        "email",
        "name_folded",
        "external_ref",
        "request_id",
    }
)
OTHER_VALUES = 200  # number of values of any other column in one tenant
# Bytes of an entry of any index. Without it SQLite expects every title to have its full length.
ENTRY_SIZE = 40
INDEXES = """
SELECT tbl_name, name FROM sqlite_schema
WHERE type = 'index' AND tbl_name NOT LIKE 'sqlite%' AND tbl_name NOT IN (
  SELECT shadow.name FROM pragma_table_list shadow WHERE shadow.type IN ('shadow', 'virtual'))
ORDER BY tbl_name, name
"""


def write_statistics(connection: BaseDatabaseWrapper) -> None:
    """Replace the statistics of this database. Other connections read them when they connect."""
    with connection.cursor() as cursor:
        rows = list(planned_statistics(cursor))
        cursor.execute("ANALYZE django_migrations")  # which creates the tables of statistics
        cursor.execute("SELECT name FROM sqlite_schema WHERE name LIKE 'sqlite_stat_'")
        for (table,) in cursor.fetchall():
            cursor.execute(f"DELETE FROM {table}")  # noqa: S608 - SQLite's own tables
        cursor.executemany("INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES (%s, %s, %s)", rows)
        cursor.execute("ANALYZE sqlite_schema")  # reads them into this connection


def restore_statistics(connection: BaseDatabaseWrapper) -> None:
    """Write the statistics again if they differ. A failure to write them is only logged.

    Costs some milliseconds. Not for a database that was never migrated.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'sqlite_stat1'")
        if cursor.fetchone() == (0,):
            return
        cursor.execute("SELECT tbl, idx, stat FROM sqlite_stat1")
        if sorted(cursor.fetchall(), key=str) == sorted(planned_statistics(cursor)):
            return
    try:
        with transaction.atomic():
            write_statistics(connection)
        log.warning("ANALYZE had replaced the planner's statistics. They are restored.")
    except OperationalError:
        log.warning("the planner's statistics, replaced by ANALYZE, stay", exc_info=True)


def restore_on_connect() -> None:
    """Restore the statistics whenever this process opens a connection to SQLite."""
    connection_created.connect(_restore, dispatch_uid="taskflow.sqlite.statistics")


def _restore(connection: BaseDatabaseWrapper, **_: object) -> None:
    if connection.vendor == "sqlite":
        restore_statistics(connection)


def planned_statistics(cursor: CursorWrapper) -> Iterator[tuple[str, str, str]]:
    """Yield table, index and its numbers as sqlite_stat1 has them, for each ordinary index."""
    cursor.execute(INDEXES)
    for table, index in cursor.fetchall():
        cursor.execute("SELECT name FROM pragma_index_info(%s) ORDER BY seqno", [index])
        columns = [name or "name" for (name,) in cursor.fetchall()]  # null for an expression
        cursor.execute('SELECT "unique" FROM pragma_index_list(%s) WHERE name = %s', [table, index])
        ((is_unique,),) = cursor.fetchall()
        numbers = _numbers(columns, is_unique=bool(is_unique))
        yield table, index, f"{' '.join(map(str, numbers))} sz={ENTRY_SIZE}"


def _numbers(columns: list[str], *, is_unique: bool) -> list[int]:
    """The rows of the table; then, for each column, how many rows share the values up to it."""
    numbers, sharing = [ROWS], ROWS
    for column in columns:
        if column == "tenant_id":
            sharing = min(sharing, ROWS_OF_TENANT)
        elif column in DISTINCT:
            sharing = 1
        else:
            sharing = max(1, sharing // VALUES.get(column, OTHER_VALUES))
        numbers.append(sharing)
    if is_unique:
        numbers[-1] = 1
    return numbers
