"""The statistics by which SQLite plans statements: the same in every database.

SQLite's planner takes from `sqlite_stat1` how many rows share the values of an index's first
columns. ANALYZE would write what it finds, and a plan that suits a small or empty table would stay
when the table grows; without any rows the planner guesses badly. So `migrate` writes rows that
follow from the names of the columns alone. Then plans never depend on data, and the tests see
the plans that production has. Nothing may run ANALYZE or PRAGMA optimize afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

ROWS = 1_000_000  # of every table, for the planner
ROWS_OF_TENANT = 100_000
FEW = {"status": 3, "priority_rank": 3, "is_published": 2}  # how many values a column has
DISTINCT = frozenset(
    {"id", "number", "digest", "key", "name", "handle", "email", "external_ref", "request_id"}
)
WIDTH = (
    40  # bytes of an entry of any index; by itself SQLite expects long titles to fill their column
)
SHARE = 200  # how many values any other column has in one tenant
INDEXES = """
SELECT tbl_name, name FROM sqlite_schema
WHERE type = 'index' AND tbl_name NOT LIKE 'sqlite%' AND tbl_name NOT IN (
  SELECT shadow.name FROM pragma_table_list shadow WHERE shadow.type IN ('shadow', 'virtual'))
ORDER BY tbl_name, name
"""


def write_statistics(connection: Any) -> None:
    """Replace the statistics of this database. Other connections see them when they connect."""
    with connection.cursor() as cursor:
        rows = list(planned_statistics(cursor))
        cursor.execute("ANALYZE django_migrations")  # which creates the tables of statistics
        cursor.execute("SELECT name FROM sqlite_schema WHERE name LIKE 'sqlite_stat_'")
        for (table,) in cursor.fetchall():
            cursor.execute(f"DELETE FROM {table}")  # noqa: S608 - SQLite's own tables
        cursor.executemany("INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES (%s, %s, %s)", rows)
        cursor.execute("ANALYZE sqlite_schema")  # reads them into this connection


def planned_statistics(cursor: Any) -> Iterator[tuple[str, str, str]]:
    """Table, index and its line of numbers, for every index of an ordinary table."""
    cursor.execute(INDEXES)
    for table, index in cursor.fetchall():
        cursor.execute("SELECT name FROM pragma_index_info(%s) ORDER BY seqno", [index])
        columns = [name or "name" for (name,) in cursor.fetchall()]  # null for an expression
        cursor.execute('SELECT "unique" FROM pragma_index_list(%s) WHERE name = %s', [table, index])
        ((is_unique,),) = cursor.fetchall()
        numbers = _numbers(columns, is_unique=bool(is_unique))
        yield table, index, f"{' '.join(map(str, numbers))} sz={WIDTH}"


def _numbers(columns: list[str], *, is_unique: bool) -> list[int]:
    """The rows of the table; then, for each column, how many rows share the values up to it."""
    numbers, left = [ROWS], ROWS
    for column in columns:
        if column == "tenant_id":
            left = min(left, ROWS_OF_TENANT)
        elif column in DISTINCT:
            left = 1
        else:
            left = max(1, left // FEW.get(column, SHARE))
        numbers.append(left)
    if is_unique:
        numbers[-1] = 1
    return numbers
