"""Health checks: their responses for load balancers, without credentials and for any host."""

from __future__ import annotations

import pytest
from django.db import OperationalError, connection
from django.db.migrations.executor import MigrationExecutor
from django.test import Client

from taskflow.tenancy import OWNER_ROLE, has_roles


@pytest.mark.parametrize("host", ["10.0.0.5:8000", "localhost", "acme.localhost", "pod-7.internal"])
@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_health_checks_accept_any_host(db, path, host):
    r = Client(headers={"host": host}).get(path)

    assert (r.status_code, r.json()["status"]) == (200, "ok")
    assert not r.cookies


def test_page_with_an_unknown_host_is_refused(db):
    assert Client(headers={"host": "10.0.0.5:8000"}).get("/").status_code == 400


def test_readyz_fails_when_the_database_fails(db, monkeypatch):
    def fail(self, *args):
        raise OperationalError("password of db.internal")

    monkeypatch.setattr(MigrationExecutor, "migration_plan", fail)

    r = Client().get("/readyz")

    assert (r.status_code, r.json()["problems"]) == (
        503,
        ["The database cannot be reached. Try again shortly."],
    )
    assert Client().get("/livez").status_code == 200


@pytest.mark.raw_sql
@pytest.mark.parametrize(
    ("sabotage", "expected"),
    [
        ("DROP POLICY tenant_rows ON tasks_tag", "tasks_tag: policies are"),
        ("ALTER POLICY tenant_rows ON tasks_tag USING (true)", "tasks_tag: policies are"),
        ("CREATE POLICY more ON tasks_tag USING (true)", "tasks_tag: policies are"),
        ("ALTER TABLE tasks_tag NO FORCE ROW LEVEL SECURITY", "not forced"),
        ("ALTER TABLE tasks_tag DISABLE ROW LEVEL SECURITY", "not forced"),
        ("CREATE VIEW peek AS SELECT * FROM tasks_tag", "peek is not security_invoker"),
    ],
)
def test_readyz_fails_when_tenants_are_not_isolated(db, sabotage, expected):
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no row-level security")
    with connection.cursor() as cursor:
        if has_roles(connection):
            cursor.execute(f"SET LOCAL ROLE {OWNER_ROLE}")
        cursor.execute(sabotage)
        cursor.execute("RESET ROLE")

    r = Client().get("/readyz")

    assert r.status_code == 503
    (problem,) = r.json()["problems"]
    assert expected in problem


def test_livez_and_readyz_return_200(db, client):
    assert client.get("/livez").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ok", "problems": []}


def test_readyz_fails_when_a_migration_is_missing(db, client):
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'tasks'")

    r = client.get("/readyz")

    assert (r.status_code, r.json()["status"]) == (503, "not ready")
    assert "tasks.0001_initial" in r.json()["problems"][0]
