"""Fill a PostgreSQL database with copies of one tenant, for what is measured with many of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

import psycopg
from psycopg import sql

from taskflow.tests.server import ROOT

TABLES = """
SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relkind = 'r' AND a.attname = 'tenant_id' AND NOT a.attisdropped
  AND c.relnamespace = current_schema()::regnamespace ORDER BY 1
"""
COLUMNS = """
SELECT attname FROM pg_attribute
WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
ORDER BY attnum
"""


def fill(environment: Mapping[str, str], superuser: str, tenants: int, tasks: int) -> int:
    """Migrate an empty database, and fill it with tenants that have so many tasks each.

    One is made by the product, and the others are copies of its rows, with the same ids: the
    primary keys begin with the tenant. Return the id of the first tenant; the others follow it.
    `superuser` is a URL. Copies have no tokens and users that could sign in are not distinguished.
    """
    for command in (
        ["migrate", "--verbosity", "0"],
        ["seed", "--tenants", "1", "--tasks", str(tasks)],
    ):
        subprocess.run(
            [sys.executable, "manage.py", *command],
            cwd=ROOT, env=dict(environment), check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")  # the original is consistent
        row = connection.execute("SELECT max(id) FROM accounts_tenant").fetchone()
        assert row
        first = int(row[0])
        numbers = sql.SQL("generate_series(1, {}) AS n").format(tenants - 1)
        _copy(connection, "accounts_tenant", "id", first, numbers)
        for (table,) in connection.execute(TABLES).fetchall():
            _copy(connection, table, "tenant_id", first, numbers)
        connection.execute("SELECT setval('accounts_tenant_id_seq', %s)", [first + tenants])
        connection.execute("VACUUM ANALYZE")
    return first


def _copy(
    connection: psycopg.Connection, table: str, key: str, first: int, numbers: sql.Composed
) -> None:
    """Copy the rows of the first tenant for each number, which is added to the id of the tenant."""
    names = [name for (name,) in connection.execute(COLUMNS, [table]).fetchall()]
    changed = {key: sql.SQL("{} + n").format(sql.Identifier(key))}
    if table == "accounts_tenant":
        changed["subdomain"] = sql.SQL("subdomain || '-' || n")
    connection.execute(
        sql.SQL("INSERT INTO {table} ({columns}) SELECT {values} FROM {table}, {numbers}"
                " WHERE {key} = {first}").format(
            table=sql.Identifier(table),
            columns=sql.SQL(", ").join(map(sql.Identifier, names)),
            values=sql.SQL(", ").join([changed.get(n, sql.Identifier(n)) for n in names]),
            numbers=numbers, key=sql.Identifier(key), first=first,
        )
    )  # fmt: skip
