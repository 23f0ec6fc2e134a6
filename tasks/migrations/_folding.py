"""What the migrations use that add folded columns. Like a migration, this module never changes.

fold_key() is a copy of the function in taskflow/db/text.py as it was then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from unicodedata import normalize

BATCH = 2_000  # rows per statement
MAX_KEY_BYTES = 2_000


def fold_key(text: str) -> str:
    """Return the folded text, cut after MAX_KEY_BYTES bytes of UTF-8."""
    folded = normalize("NFKC", normalize("NFKC", text).casefold())
    return folded.encode()[:MAX_KEY_BYTES].decode(errors="ignore")


def open_tenants(editor: Any) -> Iterator[int]:
    """Yield the id of each tenant, while PostgreSQL shows the rows of that tenant."""
    is_postgresql = editor.connection.vendor == "postgresql"
    with editor.connection.cursor() as cursor:
        cursor.execute("SELECT id FROM accounts_tenant ORDER BY id")
        for (tenant,) in cursor.fetchall():
            if is_postgresql:
                cursor.execute("SELECT set_config('taskflow.tenant', %s, true)", [str(tenant)])
            yield tenant
        if is_postgresql:
            # A table cannot be altered as long as a check of a foreign key waits for the COMMIT.
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")
            cursor.execute("SELECT set_config('taskflow.tenant', '0', true)")


def fill_columns(
    editor: Any,
    table: str,
    sources: list[str],
    columns: list[str],
    compute: Callable[..., list[str | None]],
) -> None:
    """Set `columns` of every row to what `compute` returns for its `sources`, BATCH rows at a time.

    Rows for which it returns nothing stay as they are.
    """
    read = (
        f"SELECT id, {', '.join(sources)} FROM {table}"  # noqa: S608 - names of columns
        " WHERE tenant_id = %s AND id > %s ORDER BY id LIMIT %s"
    )
    assignments = ", ".join(f"{column} = %s" for column in columns)
    write = f"UPDATE {table} SET {assignments} WHERE tenant_id = %s AND id = %s"  # noqa: S608
    with editor.connection.cursor() as cursor:
        for tenant in open_tenants(editor):
            last = 0
            while last is not None:
                cursor.execute(read, [tenant, last, BATCH])
                rows = cursor.fetchall()
                values = [(compute(*texts), pk) for pk, *texts in rows]
                cursor.executemany(write, [(*new, tenant, pk) for new, pk in values if new])
                last = rows[-1][0] if len(rows) == BATCH else None


def fill_folded(editor: Any, table: str, source: str, column: str) -> None:
    """Set `column` of every row to the key of its `source`."""
    fill_columns(editor, table, [source], [column], lambda text: [fold_key(text)])
