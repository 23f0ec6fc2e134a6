"""The stored databases of a released state are migrated to this version, and serve the API."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import psycopg
import pytest
from django.db import connection

from taskflow.management.commands.migrate import DEFAULT_GRANTS, GRANTS
from taskflow.tenancy import OWNER_ROLE, has_roles
from taskflow.tests import stored_databases
from taskflow.tests.server import ROOT, clean_environment

pytestmark = pytest.mark.slow

NAME = "stored_database"


@pytest.fixture
def sqlite_environment(tmp_path):
    """The environment of a process that uses a copy of the stored SQLite database."""
    stored_databases.restore_sqlite(tmp_path / "stored.sqlite3")
    return clean_environment(tmp_path / "data") | {
        "DATABASE_URL": f"sqlite:///{tmp_path / 'stored.sqlite3'}"
    }


@pytest.fixture
def postgresql_environment(db, tmp_path):
    """The environment of a process that uses a database restored from the stored dump."""
    if connection.vendor != "postgresql" or not has_roles(connection):
        pytest.skip("needs PostgreSQL and a login that may become the owner role")
    url = re.sub(r"/[^/?]+(\?.*)?$", f"/{NAME}", os.environ["DATABASE_URL"])
    drop = f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)"
    with psycopg.connect(os.environ["DATABASE_URL"].split("?")[0], autocommit=True) as server:
        server.execute(drop)
        server.execute(f"CREATE DATABASE {NAME}")
        with psycopg.connect(url) as database:
            database.execute(GRANTS)
            database.execute(f"SET ROLE {OWNER_ROLE}")
            database.execute(DEFAULT_GRANTS)
            stored_databases.restore_postgresql(database)
        yield clean_environment(tmp_path / "data") | {"DATABASE_URL": url}
        server.execute(drop)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="about SQLite")
def test_upgraded_stored_sqlite_database_serves_the_api(sqlite_environment):
    check_upgrade(sqlite_environment)


def test_upgraded_stored_postgresql_database_serves_the_api(postgresql_environment):
    check_upgrade(postgresql_environment)


def check_upgrade(environment):
    stored_databases.manage("migrate", "--verbosity", "0", environment=environment)
    stored_databases.manage("check", "--database", "default", environment=environment)
    recounted = stored_databases.manage("recount", environment=environment)
    assert recounted == "All values are right.\n"
    verified = stored_databases.manage("verify", environment=environment)
    assert verified.splitlines()[-1] == "All values are right."

    report = use(environment)

    assert {"odd", "Launch"} <= set(report["titles"])
    assert report["ready"] == [200, {"status": "ok", "problems": []}]
    assert {name: report[name][0] for name in ("created", "changed", "read", "found", "history")} == {
        "created": 201, "changed": 200, "read": 200, "found": 200, "history": 200,
    }  # fmt: skip
    assert report["read"][1]["priority"] == "high"
    assert [row["title"] for row in report["found"][1]["data"]] == ["After the upgrade"]
    assert len(report["history"][1]["data"]) == 2
    assert report["of another tenant"][0] == 404


def use(environment):
    """Run requests in a new process. Return the status and body of each by name."""
    ended = subprocess.run(
        [sys.executable, "-m", "taskflow.tests.serve_stored"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])
