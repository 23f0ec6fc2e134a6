"""A database that another version of TaskFlow has made is refused in one sentence."""

from __future__ import annotations

import hashlib
import sqlite3
import subprocess
import sys

import pytest
from django.core.management import CommandError, call_command
from django.core.management.base import SystemCheckError
from django.db import connection

from taskflow.database_version import find_incompatibility
from taskflow.tests.server import ROOT, clean_environment, free_port

CHANGES = {
    "newer": (
        "INSERT INTO django_migrations (app, name, applied)"
        " VALUES ('tasks', '0099_later', '2030-01-01 00:00:00+00')",
        "made by a newer version of TaskFlow: the migration tasks.0099_later is applied",
    ),
    "older": (
        "DROP TABLE taskflow_migrations",
        "made by a different version of TaskFlow: the migration accounts.0001_initial",
    ),
    "different": (
        "UPDATE taskflow_migrations SET checksum = 'x' WHERE app = 'audit'",
        "made by a different version of TaskFlow: the migration audit.0001_initial",
    ),
}


@pytest.fixture(params=CHANGES)
def reason(db, request):
    """The expected reason, after the database has been changed."""
    sql, reason = CHANGES[request.param]
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql" and sql.startswith("DROP"):
            cursor.execute(
                "SELECT tableowner FROM pg_tables WHERE tablename = 'taskflow_migrations'"
            )
            cursor.execute(f"SET LOCAL ROLE {cursor.fetchone()[0]}")
        cursor.execute(sql)
        if connection.vendor == "postgresql":
            cursor.execute("SET LOCAL ROLE NONE")
    return reason


def test_a_database_of_this_version_is_accepted(db):
    assert find_incompatibility(connection) is None
    call_command("check", databases=["default"])


def test_migrate_refuses_an_incompatible_database(reason):
    with pytest.raises(CommandError, match=reason):
        call_command("migrate", verbosity=0)


def test_serve_refuses_an_incompatible_database(reason):
    with pytest.raises(CommandError, match=reason):
        call_command("serve", port=free_port())


def test_check_refuses_an_incompatible_database(reason):
    with pytest.raises(SystemCheckError, match=reason):
        call_command("check", databases=["default"])


def test_an_incompatible_database_is_not_ready(reason, client):
    r = client.get("/readyz")

    assert r.status_code == 503
    assert [problem for problem in r.json()["problems"] if reason in problem]


def test_database_without_the_latest_migration_is_not_incompatible(db):
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'tasks'")

    assert find_incompatibility(connection) is None


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_migrating_backwards_and_forwards_keeps_the_database_compatible():
    call_command("migrate", "tasks", "0001", verbosity=0)
    assert find_incompatibility(connection) is None
    call_command("migrate", verbosity=0)

    assert find_incompatibility(connection) is None


# ---- a database of the layout before checksums were stored --------------------------------------

OLD_LAYOUT = """
CREATE TABLE django_migrations (id integer PRIMARY KEY, app text, name text, applied datetime);
INSERT INTO django_migrations (app, name, applied) VALUES
  ('accounts', '0001_initial', '2026-01-01 00:00:00'),
  ('tasks', '0001_initial', '2026-01-01 00:00:00'), ('tasks', '0002_search', '2026-01-01 00:00:00');
CREATE TABLE accounts_event (id integer PRIMARY KEY, tenant_id bigint);
CREATE TABLE tasks_task (id integer PRIMARY KEY, tenant_id bigint);
"""


@pytest.fixture(scope="module")
def old_environment(tmp_path_factory):
    directory = tmp_path_factory.mktemp("old")
    with sqlite3.connect(directory / "old.sqlite3") as database:
        database.executescript(OLD_LAYOUT)
    return clean_environment(directory / "data") | {
        "DATABASE_URL": f"sqlite:///{directory / 'old.sqlite3'}"
    }


@pytest.mark.slow
@pytest.mark.parametrize("command", ["migrate", "serve --port {port}", "check --database default"])
def test_database_without_stored_checksums_is_refused_in_one_line(old_environment, command):
    arguments = command.format(port=free_port()).split()

    ended = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT, env=old_environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip

    assert ended.returncode == 1
    assert "This database was made by a different version of TaskFlow" in ended.stderr
    assert "Traceback" not in ended.stderr
    if command != "check --database default":  # which prints a heading too
        assert ended.stderr.count("\n") == 1


# ---- checksums ----------------------------------------------------------------------------------


def test_stored_checksum_is_the_sha256_of_the_migration_file(db):
    with connection.cursor() as cursor:
        cursor.execute("SELECT checksum FROM taskflow_migrations WHERE app = 'audit'")
        (stored,) = cursor.fetchall()[0]
    text = (ROOT / "taskflow/audit/migrations/0001_initial.py").read_bytes()

    assert stored == hashlib.sha256(text).hexdigest()
