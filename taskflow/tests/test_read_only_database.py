"""A database that accepts only reads: after a failover, or in maintenance."""

from __future__ import annotations

import os
import sqlite3
import time

import psycopg
import pytest
from django.db import (
    Error,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
    connection,
)
from django.test import Client

from accounts import auth, middleware, sign_in
from conftest import ApiClient, build_fixtures, token_of
from taskflow.audit.models import Event
from taskflow.tenancy import TenantError, inside
from taskflow.tests.test_database_causes import raised

on_postgres = pytest.mark.skipif("connection.vendor != 'postgresql'")
READS = ["/tasks/APO-1", "/tasks", "/projects", "/me", "/search?q=x"]


@pytest.fixture
def fixtures(transactional_db):
    return build_fixtures()


@pytest.fixture
def client(fixtures):
    """A client with a token whose last use has not been stored yet."""
    return ApiClient(token_of(fixtures.ada))


@pytest.fixture
def read_only(client):
    set_read_only("on")
    yield
    set_read_only("off")


def set_read_only(value):
    """Switch it for this and, on PostgreSQL, for new connections."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(f"PRAGMA query_only = {value}")
            return
        name = connection.ops.quote_name(connection.settings_dict["NAME"])
        cursor.execute("SET default_transaction_read_only = off")
        cursor.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = {value}")
        cursor.execute(f"SET default_transaction_read_only = {value}")


def test_write_answers_503_that_names_the_reason(fixtures, client, read_only):
    r = client.post("/tasks", {"project_id": fixtures.apollo.pk, "title": "x"})

    assert (r.status_code, r.json()["code"]) == (503, "read_only")
    assert "only reads" in r.json()["detail"]
    assert r.headers["Retry-After"] == "1"


@pytest.mark.parametrize("path", READS)
def test_read_of_a_read_only_database_succeeds(client, read_only, path):
    """The last use of the token cannot be stored, which is no reason to fail."""
    assert client.get(path).status_code == 200


@pytest.mark.parametrize("way", ["/api/v1/auth/login", "/api/v1/auth/register"])
def test_signing_in_answers_503(fixtures, read_only, way, monkeypatch):
    monkeypatch.setattr(sign_in, "find_user_by_password", lambda check: fixtures.ada.user)
    monkeypatch.setattr(sign_in, "load_checked_user", lambda user: user)
    body = {"email": "a@b.example", "password": "correct horse battery"}
    if way.endswith("register"):
        body |= {"tenant_name": "X", "subdomain": "xyz", "full_name": "X"}

    r = ApiClient().post(way, body, headers={"X-Tenant": "acme"} if way.endswith("login") else {})

    assert (r.status_code, r.headers["Retry-After"]) == (503, "1")


def test_readyz_fails_while_the_database_is_read_only(client, read_only):
    r = Client().get("/readyz")

    assert r.status_code == 503
    assert r.json()["problems"] == ["the database accepts only reads"]
    assert r.headers["Retry-After"] == "1"
    set_read_only("off")
    assert Client().get("/readyz").json() == {"status": "ok", "problems": []}


@pytest.mark.parametrize("denied", ["file", "folder"])
def test_readyz_fails_when_sqlite_may_not_write(db, monkeypatch, denied):
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL has no file here")
    monkeypatch.setattr(os, "access", lambda path, mode: path.is_file() == (denied == "folder"))

    assert Client().get("/readyz").json()["problems"] == ["the database accepts only reads"]


@on_postgres
@pytest.mark.parametrize("probe", ["a write", "/readyz"])
def test_connection_that_accepts_only_reads_is_closed(fixtures, client, probe):
    """Otherwise it would be used after the database accepts writes again or another has taken over."""
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")
    body = {"project_id": fixtures.apollo.pk, "title": "x"}

    first = Client().get(probe) if probe == "/readyz" else client.post("/tasks", body)

    assert first.status_code == 503
    assert client.post("/tasks", body).status_code == 201
    assert Client().get("/readyz").status_code == 200


# ---- noting a token's use -----------------------------------------------------------------------

FAILURES = [
    OperationalError("database is locked"),
    raised(InternalError, "25006"),
    raised(OperationalError, "40P01"),
    raised(OperationalError, "57P01"),
    ProgrammingError("no such column"),
    InterfaceError("connection already closed"),
    psycopg.OperationalError("the connection is closed"),
    sqlite3.OperationalError("disk I/O error"),
    TenantError("a unit of work of another tenant is open"),
    ValueError("anything else"),
]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("error", FAILURES, ids=repr)
@pytest.mark.slow
def test_request_succeeds_when_the_last_use_of_the_token_cannot_be_stored(
    fixtures, client, monkeypatch, caplog, error
):
    """The write is committed already. After an error response, the client would repeat it."""

    def fail(*args, **kwargs):
        if kwargs.get("max_wait") == 0:  # only the last use of a token is stored so
            raise error
        return inside(*args, **kwargs)

    monkeypatch.setattr(auth, "inside", fail)

    r = client.post("/tasks", {"project_id": fixtures.apollo.pk, "title": "kept"})

    assert r.status_code == 201
    assert client.get("/tasks/APO-2").status_code == 200
    with inside(fixtures.acme):
        assert Event.objects.filter(subject_type="task", subject_id=r.json()["id"]).count() == 1
    for record in [record for record in caplog.records if record.name == "taskflow.auth"]:
        assert str(error) in record.message
        assert (record.exc_info is None) == isinstance(error, Error)


@on_postgres
@pytest.mark.slow
def test_request_succeeds_when_the_connection_is_lost_before_the_last_use_is_stored(
    fixtures, client, monkeypatch
):
    """The server ends the session after COMMIT and before the last use is stored."""

    def end_session(token):
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            with psycopg.connect(**connection.get_connection_params()) as other:
                other.execute("SELECT pg_terminate_backend(%s)", cursor.fetchone())
        record_token_use(token)

    from accounts.middleware import record_token_use  # noqa: PLC0415 - before it is replaced

    monkeypatch.setattr(middleware, "record_token_use", end_session)

    r = client.post("/tasks", {"project_id": fixtures.apollo.pk, "title": "kept"})

    assert r.status_code == 201
    connection.close()
    assert client.get("/tasks/APO-2").status_code == 200


@on_postgres
def test_request_does_not_wait_until_the_last_use_of_its_token_can_be_stored(fixtures, client):
    with psycopg.connect(**connection.get_connection_params()) as other:
        other.execute("SELECT set_config('taskflow.tenant', %s, true)", [str(fixtures.acme.pk)])
        assert other.execute("SELECT FROM accounts_apitoken FOR UPDATE").rowcount > 0
        started = time.monotonic()

        r = client.get("/me")

        assert r.status_code == 200
        assert time.monotonic() - started < 2, "lock_timeout is 3 seconds"
