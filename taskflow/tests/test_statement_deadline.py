"""A server ends statements of SQLite that run for too long, and goes on."""

from __future__ import annotations

import time

import pytest
from django.db import OperationalError, connection

from taskflow.db.sqlite import deadline
from taskflow.db.statements import Statement
from taskflow.http.database_errors import problem_of_database_error
from taskflow.tenancy import inside
from tasks.api import tasks as api
from tasks.models import Task

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif("connection.vendor != 'sqlite'"),
]
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
LIMIT = 0.4  # seconds


@pytest.fixture
def limit(monkeypatch):
    monkeypatch.setattr(deadline, "STEPS", 1000)
    deadline.limit_time(LIMIT)
    connection.close()
    yield
    lift_limit()


def lift_limit():
    """Let what follows take any time: an ordinary request may be slow on a busy machine."""
    deadline.limit_time(None)
    connection.close()


def run_with_cursor(sql):
    with connection.cursor() as cursor:
        cursor.execute(sql)
        cursor.fetchall()


def run_compiled(sql):
    Statement(sql, []).run({})


@pytest.mark.raw_sql
@pytest.mark.parametrize("run", [run_with_cursor, run_compiled])
def test_endless_statement_is_ended_and_the_connection_stays_usable(fixtures, limit, run):
    started = time.monotonic()

    with pytest.raises(OperationalError) as caught, inside(fixtures.acme, read_only=True):
        run(ENDLESS)

    assert str(caught.value) == "interrupted"
    assert time.monotonic() - started < 20 * LIMIT
    assert problem_of_database_error(caught.value).status == 503
    with inside(fixtures.acme):
        assert Task.objects.count() == 1


def test_request_with_an_endless_statement_gets_503_and_the_next_one_its_answer(
    fixtures, as_, limit, monkeypatch
):
    client = as_(fixtures.bob)
    with monkeypatch.context() as patched:
        patched.setattr(api, "list_response", lambda *args, **kwargs: run_with_cursor(ENDLESS))
        r = client.get("/tasks")

    assert (r.status_code, r["Retry-After"]) == (503, "1")
    lift_limit()
    assert client.get("/tasks").status_code == 200


def test_write_that_is_ended_leaves_nothing_and_frees_the_lock(fixtures, as_, limit, monkeypatch):
    client = as_(fixtures.bob)

    def create_and_hang(*args, **kwargs):
        Task.objects.filter(pk=fixtures.task.pk).update(priority="low")
        run_with_cursor(f"UPDATE tasks_tag SET version = ({ENDLESS})")
        run_with_cursor(ENDLESS)

    with monkeypatch.context() as patched:
        patched.setattr(api, "updated_response", create_and_hang)
        r = client.post("/tasks", {"project": "APO", "title": "x"})

    assert r.status_code == 422
    with inside(fixtures.acme):
        assert (Task.objects.count(), Task.objects.filter(priority="low").count()) == (1, 0)
    lift_limit()
    assert client.post("/tasks", {"project": "APO", "title": "x"}).status_code == 201


@pytest.mark.slow
def test_slow_reader_of_rows_is_not_ended(fixtures, limit):
    sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n LIMIT 9"
    with connection.cursor() as cursor:
        cursor.execute(sql)
        time.sleep(1.5 * LIMIT)
        assert len(cursor.fetchmany(9)) == 9


def test_commands_have_no_deadline(fixtures, monkeypatch):
    monkeypatch.setattr(connection.deadline, "limit", 0)
    with connection.cursor() as cursor:
        cursor.execute(ENDLESS.replace("FROM n)", "FROM n WHERE i < 400000)"))
        assert cursor.fetchone() == (400_000,)


@pytest.mark.slow
def test_time_of_a_statement_counts_from_its_own_beginning(fixtures, limit):
    for _ in range(4):
        time.sleep(LIMIT / 2)
        run_compiled(ENDLESS.replace("FROM n)", "FROM n WHERE i < 1000)"))


# ---- transactions that hold the writer -----------------------------------------------------------


def write_for_long(*args, **kwargs):
    """Take longer than the limit, with statements that are short themselves."""
    for _ in range(8):
        time.sleep(LIMIT / 4)
        run_with_cursor("SELECT 1")


@pytest.mark.slow
def test_write_that_holds_the_writer_too_long_is_refused_and_undone(
    fixtures, as_, limit, monkeypatch
):
    client = as_(fixtures.bob)
    with monkeypatch.context() as patched:
        patched.setattr(api, "updated_response", write_for_long)
        r = client.post("/tasks", {"project": "APO", "title": "x"})

    assert (r.status_code, r.json()["code"]) == (422, "too_many")
    assert "Retry-After" not in r  # it would take as long again
    with inside(fixtures.acme):
        assert Task.objects.count() == 1
    lift_limit()
    assert client.post("/tasks", {"project": "APO", "title": "x"}).status_code == 201


@pytest.mark.slow
@pytest.mark.raw_sql
@pytest.mark.parametrize("run", [run_with_cursor, run_compiled])
def test_statement_that_exceeds_the_time_of_its_write_is_ended_for_it(fixtures, limit, run):
    with pytest.raises(OperationalError) as caught, inside(fixtures.acme):
        time.sleep(0.9 * LIMIT)
        run(ENDLESS)

    assert problem_of_database_error(caught.value).code == "too_many"


@pytest.mark.slow
def test_read_may_take_longer_than_a_write(fixtures, limit):
    with inside(fixtures.acme, read_only=True):
        write_for_long()


@pytest.mark.slow
def test_time_of_a_write_counts_from_its_own_beginning(fixtures, limit):
    for _ in range(5):
        with inside(fixtures.acme):
            time.sleep(LIMIT / 4)
            run_with_cursor("SELECT 1")


@pytest.mark.slow
def test_connection_that_is_closed_in_a_write_leaves_no_deadline(fixtures, limit):
    with pytest.raises(ZeroDivisionError), inside(fixtures.acme):
        connection.close()
        raise ZeroDivisionError
    time.sleep(1.5 * LIMIT)

    with inside(fixtures.acme):
        assert Task.objects.count() == 1
