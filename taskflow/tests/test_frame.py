"""Health, logs, headers, sessions, settings: what every request and every start gets."""

from __future__ import annotations

import json
import logging
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings as configured
from django.db import OperationalError, connection
from django.test import Client, override_settings

from conftest import PASSWORD, ApiClient, new_tenant, token_of
from taskflow.logging import JsonFormatter

ROOT = Path(__file__).parents[2]

# ---- health -------------------------------------------------------------------------------------


def test_alive_and_ready(db, client):
    assert client.get("/livez").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"status": "ok", "problems": []}


def test_not_ready_with_a_migration_missing(db, client):
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'tasks'")

    r = client.get("/readyz")

    assert (r.status_code, r.json()["status"]) == (503, "not ready")
    assert "tasks.0001_initial" in r.json()["problems"][0]


def test_not_ready_without_a_database(db, client, monkeypatch):
    def fail():
        raise OperationalError("secret host name")

    monkeypatch.setattr("taskflow.health._unapplied", fail)

    r = client.get("/readyz")

    assert (r.status_code, r.json()["problems"]) == (503, ["the database does not answer"])
    assert client.get("/livez").status_code == 200


# ---- logs ---------------------------------------------------------------------------------------


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO)
    return lambda: [json.loads(JsonFormatter().format(record)) for record in caplog.records]


def test_each_request_is_one_line(world, lines):
    text = token_of(world.ada)

    ApiClient(text).get("/tasks?tag=private", headers={"X-Request-Id": "my-id.1"})

    (line,) = [line for line in lines() if line["logger"] == "taskflow.request"]
    assert {k: line[k] for k in ("request_id", "tenant", "user", "method", "path", "status")} == {
        "request_id": "my-id.1",
        "tenant": world.acme.pk,
        "user": world.ada.user.pk,
        "method": "GET",
        "path": "/api/v1/tasks",
        "status": 200,
    }
    assert line["ms"] >= 0


def test_secrets_are_in_no_line(world, lines, monkeypatch):
    text = token_of(world.ada)
    client = ApiClient(text)
    client.post("/auth/login", {"email": "ada@acme.example", "password": "hunter2-secret"})
    client.get("/tasks?tag=hunter2-secret")
    monkeypatch.setattr("tasks.api.tasks.find_task", lambda *a: 1 / 0)
    client.patch("/tasks/1", {"title": "hunter2-secret"})

    written = json.dumps(lines())

    assert "ZeroDivisionError" in written
    assert text not in written
    assert "hunter2-secret" not in written


@pytest.mark.parametrize("given", ["", "has space", "x" * 65, "a\tb", "<script>"])
def test_a_strange_request_id_is_replaced(db, given):
    r = ApiClient().get("/me", headers={"X-Request-Id": given})

    assert re.fullmatch(r"[0-9a-f]{32}", r.headers["X-Request-Id"])


# ---- headers ------------------------------------------------------------------------------------


def test_answers_are_private_and_inert(world, as_):
    r = as_(world.ada).get("/tasks/APO-1")

    assert r.headers["Cache-Control"] == "private, no-store"
    assert r.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert r.headers["X-Content-Type-Options"] == "nosniff"
    assert {"Authorization", "Cookie", "X-Tenant"} <= set(re.split(", *", r.headers["Vary"]))
    assert r.headers["ETag"] == f'"{world.task.pk}-1"'


def test_head_is_get_without_a_body(world, as_):
    r = as_(world.ada).head("/tasks/APO-1")

    assert (r.status_code, r.headers["ETag"]) == (200, f'"{world.task.pk}-1"')


@override_settings(CORS_ALLOWED_ORIGINS=["https://app.example"])
def test_only_named_origins_may_call(world, as_):
    def allowed(origin):
        headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        r = ApiClient().options("/tasks", headers=headers)
        return r.headers.get("Access-Control-Allow-Origin")

    assert allowed("https://app.example") == "https://app.example"
    assert allowed("https://evil.example") is None
    assert "Access-Control-Allow-Credentials" not in as_(world.ada).get("/me").headers


# ---- the docs page and sessions -----------------------------------------------------------------


def test_the_docs_page_needs_no_inline_script(db):
    page = Client(SERVER_NAME="localhost").get("/api/v1/docs")

    html = page.content.decode()
    assert page.status_code == 200
    assert not re.search(r"<script(?![^>]*(src=|application/json))", html)
    for asset in re.findall(r'(?:src|href)="(/static/[^"]+)"', html):
        served = Client(SERVER_NAME="localhost").get(asset)
        assert served.status_code == 200, asset
        served.close()


@pytest.fixture
def browser(db):
    new_tenant("acme", "root", PASSWORD)
    client = Client(SERVER_NAME="localhost", enforce_csrf_checks=True)
    client.get("/admin/login/")
    data = {"username": "root@acme.example", "password": PASSWORD}
    r = client.post("/admin/login/", data | {"csrfmiddlewaretoken": csrf(client)})
    assert r.status_code == 302
    return client


def csrf(client):
    return client.cookies[configured.CSRF_COOKIE_NAME].value


def test_a_signed_in_session_serves_with_its_csrf_token(browser):
    body, kind = {"name": "x"}, "application/json"

    assert browser.get("/api/v1/me").json()["handle"] == "root"
    refused = browser.post("/api/v1/tags", body, content_type=kind)
    assert (refused.status_code, refused.json()["code"]) == (403, "csrf_failed")
    headers = {"X-CSRFToken": csrf(browser)}
    assert browser.post("/api/v1/tags", body, content_type=kind, headers=headers).status_code == 201
    assert browser.post("/api/v1/auth/logout", headers=headers).status_code == 422


def test_a_session_is_nobodys_on_another_tenants_host(browser):
    new_tenant("globex", "mallory")
    elsewhere = Client(SERVER_NAME="globex.localhost")
    elsewhere.cookies = browser.cookies

    assert elsewhere.get("/api/v1/me").status_code == 401
    elsewhere.cookies[configured.SESSION_COOKIE_NAME] = "forged"
    assert elsewhere.get("/api/v1/me").status_code == 401


# ---- settings -----------------------------------------------------------------------------------


def start(tmp_path, **variables):
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("TASKFLOW_", "DATABASE"))
    }
    environment |= {"TASKFLOW_DATA_DIR": str(tmp_path)} | variables
    code = "from taskflow import settings as s; print(s.DEBUG, s.SECRET_KEY)"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )


def test_it_starts_safely_without_any_setting(tmp_path):
    first, second = start(tmp_path), start(tmp_path)

    assert first.stdout.startswith("False ")
    assert first.stdout == second.stdout, "the key is kept"
    assert stat.S_IMODE((tmp_path / "secret_key").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("TASKFLOW_DEBGU", "1", "Unknown setting TASKFLOW_DEBGU"),
        ("TASKFLOW_DEBUG", "ture", "TASKFLOW_DEBUG='ture'"),
        ("DATABASE_URL", "mysql://x", "DATABASE_URL must start with"),
        ("DATABASE_URL", "nonsense", "DATABASE_URL"),
    ],
)
def test_a_wrong_setting_stops_the_start(tmp_path, name, value, said):
    r = start(tmp_path, **{name: value})

    assert r.returncode != 0
    assert said in r.stderr.splitlines()[-1]
