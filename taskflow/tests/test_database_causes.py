"""Each cause of a failing database has its own code, sentence, and one line in the log."""

from __future__ import annotations

import io
import json
import logging
import shutil
from collections import namedtuple

import pytest
from django.db import (
    DatabaseError,
    InternalError,
    OperationalError,
    ProgrammingError,
    connection,
)
from django.test import Client

import accounts.middleware
from conftest import sign_in_browser
from taskflow.http.database_errors import problem_of_database_error
from taskflow.http.errors import Internal, Unavailable
from taskflow.http.unavailable import (
    Busy,
    Contended,
    LockTimeout,
    ReadOnly,
    StatementTimeout,
    StorageFull,
)
from taskflow.logging import JsonFormatter
from taskflow.tenancy import inside
from tasks.admin import tasks as task_admin
from tasks.api import tasks as task_api

on_sqlite = pytest.mark.skipif("connection.vendor != 'sqlite'")

# ---- PostgreSQL ----------------------------------------------------------------------------------

MEANINGS = {
    "08000": Unavailable, "08003": Unavailable, "08006": Unavailable, "08P01": Unavailable,
    "22023": Unavailable, "25006": ReadOnly, "25P02": Internal, "25P03": Unavailable,
    "25P04": StatementTimeout,
    "26000": Contended, "42P05": Contended, "40001": Contended, "40P01": Contended,
    "42601": Internal, "42501": Internal, "42P01": Internal, "XX000": Internal,
    "53000": Busy, "53100": StorageFull, "53200": Busy, "53300": Busy,
    "55P03": LockTimeout, "57014": StatementTimeout, "57P01": Unavailable, "57P02": Unavailable,
    "57P03": Unavailable, "57P05": Unavailable, "58030": Unavailable,
}  # fmt: skip


@pytest.mark.parametrize("django_class", [OperationalError, InternalError, ProgrammingError])
@pytest.mark.parametrize("sqlstate", MEANINGS)
def test_sqlstate_determines_the_problem(sqlstate, django_class):
    """A SQLSTATE in the table determines the problem, whatever Django's error class is."""
    problem = problem_of_database_error(raised(django_class, sqlstate))

    if MEANINGS[sqlstate] is not Internal:
        assert type(problem) is MEANINGS[sqlstate]
        assert problem.headers.keys() == {"Retry-After"}
    elif django_class is not OperationalError:
        assert type(problem) is Internal


def raised(django_class, sqlstate):
    try:
        raise django_class("x") from psycopg_error(sqlstate)
    except DatabaseError as error:
        return error


def psycopg_error(sqlstate):
    from psycopg.errors import lookup  # noqa: PLC0415 - SQLite has no use for psycopg

    return lookup(sqlstate)("x")


# ---- SQLite --------------------------------------------------------------------------------------

SQLITE = {
    "attempt to write a readonly database": ReadOnly,
    "database is locked": Busy,
    "database is locked: other writers took 5 seconds": Busy,
    "database table is locked: tasks_task": Busy,
    "database or disk is full": StorageFull,
    "interrupted": StatementTimeout,
    "disk I/O error": Unavailable,
    "unable to open database file": Unavailable,
    "no such table: tasks_task": Internal,
}


@on_sqlite
@pytest.mark.parametrize("message", SQLITE)
def test_message_of_sqlite_determines_the_problem(message):
    assert type(problem_of_database_error(OperationalError(message))) is SQLITE[message]


@on_sqlite
def test_io_error_on_a_full_disk_is_a_full_disk(monkeypatch):
    """SQLite reports some writes that found no space, such as those of shared memory, so."""
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(4096))

    assert type(problem_of_database_error(OperationalError("disk I/O error"))) is StorageFull


@on_sqlite
@pytest.mark.django_db(transaction=True)
def test_write_into_a_full_sqlite_file_answers_507_and_reads_go_on(fixtures, as_):
    client = as_(fixtures.ada)
    long = "x" * 60_000
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA page_count")
        cursor.execute(f"PRAGMA max_page_count = {cursor.fetchone()[0] + 2}")
    try:
        body = {"project_id": fixtures.apollo.pk, "title": "x", "description": long}
        answers = [client.post("/tasks", body) for _ in range(3)]
        assert (answers[-1].status_code, answers[-1].json()["code"]) == (507, "storage_full")
        assert "disk" in answers[-1].json()["detail"]
        assert client.get("/tasks").status_code == 200
    finally:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA max_page_count = 1073741823")
    assert client.post("/tasks", body).status_code == 201


# ---- answers and log lines -----------------------------------------------------------------------

CAUSES = {
    "unavailable": (503, "57P01"),
    "database_silent": (503, "08T01"),
    "database_busy": (503, "53300"),
    "lock_timeout": (503, "55P03"),
    "statement_timeout": (503, "57014"),
    "read_only": (503, "25006"),
    "storage_full": (507, "53100"),
}


def error_of(sqlstate):
    error = OperationalError("what the database says\nDETAIL: more")
    error.sqlstate = sqlstate
    return error


@pytest.fixture
def lines():
    """lines() returns the log lines so far."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logging.getLogger().addHandler(handler)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logging.getLogger().removeHandler(handler)


@pytest.fixture
def fail(monkeypatch):
    """fail(module, name, sqlstate) makes a function fail as the database does."""

    def prepare(module, name, sqlstate):
        def failing(*args, **kwargs):
            raise error_of(sqlstate)

        monkeypatch.setattr(module, name, failing)

    return prepare


@pytest.mark.parametrize("code", CAUSES)
def test_cause_has_its_code_and_one_line_in_the_log(fixtures, as_, fail, lines, code):
    status, sqlstate = CAUSES[code]
    client = as_(fixtures.ada)
    fail(task_api, "updated_response", sqlstate)

    r = client.patch("/tasks/APO-1", {"title": "x"})

    assert (r.status_code, r.json()["code"]) == (status, code)
    assert int(r.headers["Retry-After"]) > 0
    cause, request = lines()
    assert cause["message"] == f"{code}: what the database says ({sqlstate})"
    assert cause["request_id"] == request["request_id"] == r.json()["request_id"]
    assert (cause["level"], request["status"]) == ("error", status)
    assert "trace" not in cause


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("patch", "/tasks/APO-1", "update_task"),
        ("post", "/tasks", "create_task"),
        ("head", "/tasks", "list_tasks"),
        ("get", "/nothing", "other"),
        ("delete", "/tasks", "other"),
    ],
)
def test_request_that_gets_no_transaction_is_logged_with_its_operation(
    fixtures, as_, fail, lines, method, path, operation
):
    """With the database away, all requests fail before Django looks up their URL."""
    client = as_(fixtures.ada)
    fail(accounts.middleware, "find_live_token", "08006")

    assert getattr(client, method)(path).status_code == 503

    assert lines()[-1]["operation"] == operation


def test_each_cause_has_a_sentence_of_its_own():
    details = [problem_of_database_error(error_of(state)).detail for _, state in CAUSES.values()]

    assert len(set(details)) == len(CAUSES)


@pytest.mark.parametrize("code", ["lock_timeout", "storage_full"])
def test_admin_page_names_the_cause_and_logs_one_line(fixtures, fail, lines, code):
    status, sqlstate = CAUSES[code]
    browser = Client(SERVER_NAME="acme.localhost", raise_request_exception=False)
    with inside(fixtures.acme):
        sign_in_browser(browser, fixtures.boss.user)
    fail(task_admin, "change_tasks", sqlstate)
    chosen = {"action": "complete", "_selected_action": [fixtures.task.pk]}

    r = browser.post("/admin/tasks/task/", chosen)

    assert r.status_code == status
    assert r.content.decode() == problem_of_database_error(error_of(sqlstate)).detail
    assert len([line for line in lines() if line["logger"] == "taskflow.errors"]) == 1
    assert not [line for line in lines() if "trace" in line]
