"""Configuration errors are one sentence on stderr, from every way to start the program."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import (
    DEFAULT_DB_ALIAS,
    DatabaseError,
    IntegrityError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    connection,
    connections,
)
from django.db.backends.base import base
from django.test import Client

from taskflow.http import health
from taskflow.startup import describe_failure
from taskflow.tests.server import ROOT, clean_environment

CLOSED = "127.0.0.1:1"  # no server listens there


@pytest.fixture
def run(tmp_path):
    """run(arguments, NAME=value) runs Python and returns exit code, stdout and stderr."""

    def start(*arguments, **variables):
        environment = clean_environment(tmp_path / "data") | variables
        ended = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        return ended.returncode, ended.stdout, ended.stderr

    return start


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "variables", "message"),
    [
        ("manage.py check", {"TASKFLOW_DEBGU": "1"}, "Unknown setting TASKFLOW_DEBGU"),
        ("manage.py serve", {"TASKFLOW_HTTPS": "maybe"}, "Set it to 1 or 0"),
        ("manage.py recount", {"DATABASE_URL": "mysql://u:hunter2@h/d"}, "DATABASE_URL"),
        ("-m taskflow.serving ::1 1 1", {"DATABASE_URL": "nonsense"}, "DATABASE_URL"),
        ("-c 'import taskflow.wsgi'", {"TASKFLOW_LOG_LEVEL": "loud"}, "Set it to one of DEBUG"),
        ("manage.py seed", {"TASKFLOW_DATA_DIR": "/proc/none"}, "/proc/none cannot be created"),
        ("manage.py purge", {"DATABASE_URL": "sqlite:////"}, "unable to open database file"),
        ("manage.py export acme", {}, "python manage.py migrate"),
        ("manage.py migrate", {"DATABASE_URL": f"postgres://u:hunter2@{CLOSED}/d"}, "refused"),
        (
            "manage.py createsuperuser --email a@b.example --noinput",
            {
                "DATABASE_URL": f"postgres://u:hunter2@{CLOSED}/d?unknown=1",
                "DJANGO_SUPERUSER_PASSWORD": "hunter2",
            },
            'invalid connection option "unknown"',
        ),
    ],
)
def test_a_configuration_error_is_one_sentence(run, command, variables, message):
    arguments = [part.strip("'") for part in re.findall(r"'[^']*'|\S+", command)]

    code, out, err = run(*arguments, **variables)

    assert (code, out) == (1, "")
    assert err.count("\n") == 1, err
    assert message in err
    assert "hunter2" not in err


def test_traceback_of_a_configuration_error_is_shown_with_the_option(run):
    code, _, err = run("manage.py", "check", "--traceback", TASKFLOW_DEBGU="1")

    assert code == 1
    assert err.startswith("Traceback")


@pytest.mark.slow
def test_a_database_that_does_not_exist_is_one_sentence(run):
    if connection.vendor != "postgresql":
        pytest.skip("SQLite creates the database")
    url = re.sub(r"/\w+(\?.*)?$", "/nowhere", os.environ["DATABASE_URL"])

    code, _, err = run("manage.py", "migrate", DATABASE_URL=url)

    assert code == 1
    assert err.count("\n") == 1, err
    assert 'database "nowhere" does not exist' in err


def caused(error: Exception, sqlstate: str) -> Exception:
    error.__cause__ = Exception()
    error.__cause__.sqlstate = sqlstate  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ImproperlyConfigured("X=1:\n  write 2."), "The configuration is wrong: X=1: write 2."),
        (OperationalError("timeout\n\texpired"), "The database cannot be used: timeout expired"),
        (DatabaseError("file is not a database"), "cannot be used: file is not a database"),
        (NotSupportedError("PostgreSQL 16 or later"), "cannot be used: PostgreSQL 16 or later"),
        (ProgrammingError('invalid connection option "x"'), "cannot be used: invalid connection"),
        (OperationalError("no such table: tasks_task"), "Run: /v/bin/taskflow migrate"),
        (OperationalError("no such column: x.y"), "Run: /v/bin/taskflow migrate"),
        (caused(ProgrammingError("relation"), "42P01"), "Run: /v/bin/taskflow migrate"),
        (caused(ProgrammingError("column"), "42703"), "Run: /v/bin/taskflow migrate"),
    ],
)
def test_configuration_or_database_failure_is_described_in_one_sentence(
    error, message, monkeypatch
):
    monkeypatch.setattr(sys, "argv", ["/v/bin/taskflow", "export"])

    sentence = describe_failure(error)

    assert sentence is not None
    assert message in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize(
    "error",
    [
        IntegrityError("duplicate key"),
        ProgrammingError("the query has 1 placeholder but 2 parameters were passed"),
        caused(ProgrammingError("syntax error"), "42601"),
    ],
)
def test_programming_error_is_not_described_and_keeps_its_traceback(error):
    assert describe_failure(error) is None


# ---- PostgreSQL 15 -------------------------------------------------------------------------------


@pytest.fixture
def postgresql_15(db, monkeypatch):
    """Let the database server report version 15, at a first connection."""
    if connection.vendor != "postgresql":
        pytest.skip("about PostgreSQL")
    monkeypatch.setattr(
        type(connections[DEFAULT_DB_ALIAS]), "get_database_version", lambda self: (15, 4)
    )
    monkeypatch.setattr(base, "RAN_DB_VERSION_CHECK", set())


def test_an_old_postgresql_is_refused_in_one_sentence(postgresql_15):
    with pytest.raises(NotSupportedError) as raised:
        connection.init_connection_state()

    assert describe_failure(raised.value) == (
        "The database cannot be used: PostgreSQL 16 or later is required (found 15.4)."
    )


def test_an_old_postgresql_is_not_ready(postgresql_15, monkeypatch):
    def connect(*arguments):
        connection.check_database_version_supported()

    monkeypatch.setattr(health, "MigrationExecutor", connect)

    r = Client().get("/readyz")

    assert r.status_code == 503
    assert r.json()["problems"] == ["PostgreSQL 16 or later is required (found 15.4)."]


def test_postgresql_16_is_accepted_at_connection(postgresql_15, monkeypatch):
    monkeypatch.setattr(
        type(connections[DEFAULT_DB_ALIAS]), "get_database_version", lambda self: (16, 0)
    )

    connection.check_database_version_supported()
