"""Log lines: one per request, without secrets."""

from __future__ import annotations

import io
import json
import logging
import os
import re
from ipaddress import ip_network

import pytest
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import ApiToken
from conftest import ApiClient, token_of
from taskflow.http.request_record import QUEUE_SECONDS
from taskflow.logging import REQUEST_FIELDS, JsonFormatter
from taskflow.tenancy import inside
from tasks.api import tasks as task_api

pytestmark = pytest.mark.one_database
OTHERS = {"slow", "frozen_ms", "cpu_ms", "reason"}  # fields of other lines


@pytest.fixture
def lines():
    """lines() returns the log lines so far. A handler at the root logger collects them."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    loggers = [logging.getLogger(name) for name in ("", "django.server")]
    for logger in loggers:
        logger.addHandler(handler)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    for logger in loggers:
        logger.removeHandler(handler)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("get", "/me", 200),
        ("get", "/nothing", 404),
        ("get", "/tasks?x=1", 422),
        ("get", "/tasks?" + "x=1&" * 1001, 400),
        ("post", "/tasks", 422),
        ("delete", "/tasks", 405),
        ("head", "/me", 200),
    ],
)
def test_each_api_request_is_logged_in_one_line(fixtures, lines, method, path, status):
    getattr(ApiClient(token_of(fixtures.ada)), method)(path)

    (line,) = lines()
    assert (line["status"], line["method"]) == (status, method.upper())
    assert line["path"] == f"/api/v1{path.partition('?')[0]}"
    assert line.keys() == {"at", "level", "logger", "message", "worker", *REQUEST_FIELDS} - OTHERS


@pytest.mark.parametrize("path", ["/livez", "/admin/login/", "/api/v1/docs", "/nothing"])
def test_pages_and_health_checks_are_logged(db, lines, path):
    Client().get(path)

    assert [line["path"] for line in lines() if line["logger"] == "taskflow.request"] == [path]


def test_log_line_of_an_unknown_token_names_no_user(fixtures, lines):
    ApiClient("tf_1_" + "a" * 49).get("/me")

    (line,) = lines()
    assert (line["status"], line["tenant"], line["user"]) == (401, None, None)


def test_unexpected_exception_is_logged_with_one_traceback_and_the_request_id(
    fixtures, lines, monkeypatch
):
    monkeypatch.setattr(task_api, "task_response", lambda *a: 1 / 0)

    r = ApiClient(token_of(fixtures.ada)).get(f"/tasks/{fixtures.task.pk}")

    (traced,) = [line for line in lines() if "trace" in line]
    assert traced["level"] == "error"
    assert traced["request_id"] == r.json()["request_id"]
    assert traced["trace"].endswith("ZeroDivisionError: division by zero")


def test_control_characters_in_a_request_cannot_forge_log_lines(fixtures, lines):
    text = token_of(fixtures.ada)

    ApiClient(text).get("/tasks/a%0A%7B%22level%22%3A%22fake%22%7D")
    ApiClient(text).get(f"/tasks/{fixtures.task.pk}", headers={"X-Request-Id": 'x","level":"fake'})

    assert [line["level"] for line in lines()] == ["info", "info"]


@pytest.mark.parametrize("character", ["\x7f", "\x85", "\x9b", "\u2028", "\u202e", "\ufeff"])
def test_characters_that_end_lines_or_control_terminals_are_escaped(character):
    record = logging.makeLogRecord({"msg": "request", "path": f"/a{character}b"})

    line = JsonFormatter().format(record)

    assert character not in line
    assert json.loads(line)["path"] == f"/a{character}b"


def test_long_path_is_cut_so_that_its_line_stays_whole():
    record = logging.makeLogRecord({"msg": "request", "path": "/" + "\x01" * 60_000})

    line = JsonFormatter().format(record)

    assert len(line) < 8_000
    assert json.loads(line)["path"] == "/" + "\x01" * 999 + "…"


@pytest.mark.parametrize("given", ["a" * 64, "A-b_c.9", "0"])
def test_valid_request_id_is_used_in_response_and_event(fixtures, events, given):
    r = ApiClient(token_of(fixtures.ada)).post(
        "/tags", {"name": "x"}, headers={"X-Request-Id": given}
    )

    assert r.headers["X-Request-Id"] == given
    assert events(fixtures.acme)[-1].request_id == given


def test_request_without_an_id_gets_a_new_one(fixtures):
    client = ApiClient(token_of(fixtures.ada))

    first, second = (client.get("/me").headers["X-Request-Id"] for _ in range(2))

    assert first != second
    assert re.fullmatch("[0-9a-f]{32}", first)


def test_log_times_are_utc_and_values_that_are_not_json_become_text():
    record = logging.LogRecord("x", logging.INFO, "f", 1, "a %s", ("b",), None)
    record.created, record.reason, record.password = 0.0, {1, 2}, "hunter2"

    line = json.loads(JsonFormatter().format(record))

    assert line["at"] == "1970-01-01T00:00:00.000+00:00"
    assert (line["message"], line["reason"]) == ("a b", "{1, 2}")
    assert "password" not in line, "only named fields are written"


def test_log_line_contains_user_method_and_path(fixtures, lines):
    text = token_of(fixtures.ada)

    r = ApiClient(text).get("/tasks?tag=private", headers={"X-Request-Id": "my-id.1"})

    (line,) = [line for line in lines() if line["logger"] == "taskflow.request"]
    with inside(fixtures.acme):
        token_id = ApiToken.objects.get(user=fixtures.ada.user).pk
    expected = {
        "request_id": "my-id.1",
        "tenant": fixtures.acme.pk,
        "user": fixtures.ada.user.pk,
        "token": token_id,
        "client": "127.0.0.1",
        "method": "GET",
        "path": "/api/v1/tasks",
        "operation": "list_tasks",
        "status": 200,
        "code": None,
        "queue_ms": 0.0,
        "worker": os.getpid(),
        "bytes": len(r.content),
    }
    assert expected.items() <= line.items()
    assert line["ms"] >= line["db_ms"] > 0
    assert line["statements"] >= 2


@pytest.mark.parametrize(("milliseconds", "is_slow"), [(300, False), (700, True)])
def test_request_that_has_waited_long_is_marked_as_slow(db, lines, settings, milliseconds, is_slow):
    settings.SLOW_REQUEST_SECONDS = 0.5

    Client().get("/livez", **{QUEUE_SECONDS: milliseconds / 1000})

    (line,) = lines()
    assert line["queue_ms"] == milliseconds
    assert (line.get("slow"), line["level"]) == ((True, "warning") if is_slow else (None, "info"))


def test_client_is_the_address_that_a_trusted_proxy_has_added(db, lines, settings):
    settings.TRUST_PROXY = (ip_network("127.0.0.1"),)

    Client().get("/livez", headers={"X-Forwarded-For": "6.6.6.6, 10.0.0.1"})

    assert lines()[0]["client"] == "10.0.0.1"


@pytest.mark.parametrize(
    "place", ["path", "request id", "query", "body", "headers", "name of a header"]
)
@pytest.mark.parametrize("secret", ["tf_1_" + "aB3" * 16 + "x", "hunter2-correct-horse"])
def test_secret_is_in_no_line_wherever_it_is_sent(fixtures, lines, monkeypatch, secret, place):
    is_token = secret.startswith("tf_")
    if place in ("path", "request id") and not is_token:
        pytest.skip("paths and request ids are logged, and only tokens can be recognized in them")
    client = ApiClient(token_of(fixtures.ada))
    monkeypatch.setattr(task_api, "updated_response", lambda *a, **k: 1 / 0)
    path = f"/tasks/{secret}" if place == "path" else f"/tasks/{fixtures.task.pk}"
    query = f"?title={secret}" if place == "query" else ""
    body = {"title": secret, secret: secret} if place == "body" else {"title": "x"}
    names = ["Authorization", "Cookie", "X-Reason", "X-On-Behalf-Of", "If-Match", "Idempotency-Key"]
    headers = {
        "request id": {"X-Request-Id": secret},
        "headers": {"X-Forwarded-For": secret, "User-Agent": secret, "Referer": secret},
        "name of a header": {secret: "x"},
    }.get(place, {})
    calls = [headers] + [{name: secret} for name in names if place == "headers"]

    for sent in calls:
        client.patch(path + query, body, headers=sent)
        client.post("/auth/login" + query, {"email": "a@b.c", "password": secret}, headers=sent)

    assert secret not in json.dumps(lines())
    assert len(lines()) >= 2 * len(calls)


@pytest.mark.slow
@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), max_size=80),
    tenant=st.integers(0, 10**9),
    digits=st.text(st.sampled_from("aZ09"), min_size=10, max_size=60),
)
def test_formatter_masks_a_token_in_any_text(text, tenant, digits):
    token = f"tf_{tenant}_{digits}"
    record = logging.LogRecord("x", logging.INFO, "f", 1, "%s", (text + token + text,), None)
    record.path = record.request_id = token

    line = JsonFormatter().format(record)

    assert token not in line
    assert json.loads(line)["path"] == "tf_…"


def test_log_lines_contain_no_secrets(fixtures, lines, monkeypatch):
    text = token_of(fixtures.ada)
    client = ApiClient(text)
    client.post("/auth/login", {"email": "ada@acme.example", "password": "hunter2-secret"})
    client.get("/tasks?tag=hunter2-secret")
    monkeypatch.setattr(task_api, "updated_response", lambda *a, **k: 1 / 0)
    client.patch(f"/tasks/{fixtures.task.pk}", {"title": "hunter2-secret"})

    written = json.dumps(lines())

    assert "ZeroDivisionError" in written
    assert text not in written
    assert "hunter2-secret" not in written


@pytest.mark.parametrize("given", ["", "has space", "x" * 65, "a\tb", "<script>"])
def test_invalid_request_id_is_replaced(db, given):
    r = ApiClient().get("/me", headers={"X-Request-Id": given})

    assert re.fullmatch(r"[0-9a-f]{32}", r.headers["X-Request-Id"])
