"""What cannot be accepted gets a problem document, changes nothing, and never a 500."""

from __future__ import annotations

import json

import pytest
from django.db import OperationalError

from accounts.tenancy import inside
from conftest import API, ApiClient, token_of
from taskflow.api import api
from tasks.models import Task

PROBLEM = "application/problem+json"


def send(client, body, path="/tags", **headers):
    """A raw body, as a script with a bug would send it."""
    body = body if isinstance(body, bytes) else body.encode()
    kwargs = {"content_type": "application/json"} | headers
    return client.generic("POST", path, body, **kwargs)


def is_problem(r):
    body = r.json()
    assert r.headers["Content-Type"].startswith(PROBLEM), r.content
    assert body["status"] == r.status_code
    assert body["request_id"] == r.headers["X-Request-Id"]
    assert body["type"] == f"urn:taskflow:problem:{body['code']}"
    assert len(body["detail"]) > 10
    return body


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("{", 400, "malformed_json"),
        ('{"name": "a",}', 400, "malformed_json"),
        ('"hello world"', 400, "malformed_json"),
        ("[]", 400, "malformed_json"),
        ("null", 400, "malformed_json"),
        ("5", 400, "malformed_json"),
        (b"\xff\xfe", 400, "malformed_json"),
        ('{"name": "a", "name": "b"}', 400, "malformed_json"),
        ('{"name": NaN}', 400, "malformed_json"),
        ('{"name": Infinity}', 400, "malformed_json"),
        ('{"name": "a\\u0000b"}', 400, "malformed_json"),
        ('{"name": "a\\ud800b"}', 400, "malformed_json"),
        ('{"a\\u0000": 1}', 400, "malformed_json"),
        ('{"name": 9223372036854775808}', 400, "malformed_json"),
        ('{"name": ' + "[" * 9 + "]" * 9 + "}", 400, "malformed_json"),
        ('{"name": ' + "[" * 90_000 + "]" * 90_000 + "}", 400, "malformed_json"),
        ('{"name": ' + "9" * 5000 + "}", 400, "malformed_json"),
        ("", 422, "validation_failed"),
        ("{}", 422, "validation_failed"),
        ('{"name": "x", "colour": "#000000"}', 422, "validation_failed"),
        ('{"name": {"$ne": null}}', 422, "validation_failed"),
        ('{"name": true}', 422, "validation_failed"),
        ('{"name": "' + "x" * 1_000_000 + '"}', 422, "validation_failed"),
        ('{"name": "' + "x" * 1_100_000 + '"}', 413, "too_large"),
    ],
)
def test_a_body(world, as_, events, body, status, code):
    client = as_(world.ada)
    before = len(events(world.acme))

    r = send(client, body)

    assert (r.status_code, is_problem(r)["code"]) == (status, code)
    assert len(events(world.acme)) == before


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/xml", ""])  # fmt: skip
def test_another_content_type(world, as_, kind):
    r = send(as_(world.ada), '{"name": "x"}', content_type=kind)

    assert (r.status_code, is_problem(r)["code"]) == (415, "unsupported_media_type")


def test_chunks_would_arrive_empty(world, as_):
    r = send(as_(world.ada), "", HTTP_TRANSFER_ENCODING="chunked")

    assert (r.status_code, is_problem(r)["code"]) == (411, "length_required")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("get", "/nothing", 404, "not_found"),
        ("get", "/tasks/", 404, "not_found"),
        ("get", "/users/x", 404, "not_found"),
        ("get", "/users/99999999999999999999999", 404, "not_found"),
        ("get", "/tasks/99999999999999999999999", 404, "not_found"),
        ("get", "/tasks/APO-99999999999999999999", 404, "not_found"),
        ("get", "/tasks/a%00b", 404, "not_found"),
        ("get", "/tasks/%ff%fe", 404, "not_found"),
        ("get", "/tasks/%F0%9F%9A%80", 404, "not_found"),
        ("get", "/tasks/1' OR 1=1 --", 404, "not_found"),
        ("delete", "/tasks", 405, "method_not_allowed"),
        ("put", "/me", 405, "method_not_allowed"),
        ("get", "/tasks?tag=a%00b", 400, "bad_request"),
        ("get", "/tasks?cursor=x", 400, "invalid_cursor"),
        ("get", "/tasks?project=99999999999999999999999", 422, "invalid"),
        ("get", "/tasks?due_before=0001-01-01T00:00:00%2B14:00", 422, "validation_failed"),
        ("get", "/tasks?due_before=9999-12-31T23:59:59-14:00", 422, "validation_failed"),
        ("get", "/tasks?limit=99999999999999999999999", 422, "validation_failed"),
        ("get", "/me?x=1", 422, "invalid"),
        ("get", "/me?x", 422, "invalid"),
    ],
)
def test_an_address(world, as_, method, path, status, code):
    r = getattr(as_(world.ada), method)(path)

    assert (r.status_code, is_problem(r)["code"]) == (status, code)
    assert ("Allow" in r.headers) == (status == 405)


def test_a_foreign_host(world):
    r = ApiClient(token_of(world.ada), SERVER_NAME="evil.example").get("/me")

    assert (r.status_code, is_problem(r)["code"]) == (400, "bad_request")


@pytest.mark.parametrize("role", ["eve", "mallory"])
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("get", "/tasks/{task}", None),
        ("patch", "/tasks/{task}", {"title": "x"}),
        ("delete", "/tasks/{task}", None),
        ("post", "/tasks/{task}/completion", None),
        ("get", "/projects/{project}", None),
        ("delete", "/projects/{project}", None),
        ("post", "/projects/{project}/members", {"user_id": 1}),
        ("post", "/tasks", {"project_id": "{project}", "title": "x"}),
    ],
)
def test_what_is_anothers_is_answered_as_what_is_not_there(world, as_, role, method, path, body):
    client = as_(getattr(world, role))

    def answer(**ids):
        sent = body and {k: int(v.format(**ids)) if "{" in str(v) else v for k, v in body.items()}
        r = getattr(client, method)(path.format(**ids), sent)
        return r.status_code, {**is_problem(r), "request_id": ""}

    theirs = answer(task=world.task.pk, project=world.apollo.pk)

    assert theirs == answer(task=999_999, project=999_999)
    with inside(world.acme):
        assert Task.objects.get().title == "Launch"


JUNK = ["", "x", "-1", "0", "9" * 30, "null", "true", "[]", "{}", "\u202e", "💥", "a" * 5000]
SCHEMA = api.get_openapi_schema()
OPERATIONS = [
    (method, path, operation)
    for path, methods in SCHEMA["paths"].items()
    for method, operation in methods.items()
]


def fields_of(operation):
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    name = content.get("schema", {}).get("$ref", "/").rsplit("/", 1)[-1]
    return list(SCHEMA["components"]["schemas"].get(name, {}).get("properties", {}))


@pytest.mark.parametrize(("method", "path", "operation"), OPERATIONS, ids=[f"{m} {p}" for m, p, _ in OPERATIONS])  # fmt: skip
def test_junk_never_breaks_an_operation(world, as_, method, path, operation):
    client = as_(world.boss)
    path = path.removeprefix(API)
    parameters = [p["name"] for p in operation["parameters"] if p["in"] == "query"]
    values = [*JUNK, None, 1, -1, 1.5, True, [], [None], {}, {"a": None}, "2026-99-99"]
    requests = [(path.replace("{", "").replace("}", ""), {}, None)]
    known = {"task_id": world.task.pk, "project_id": world.apollo.pk}
    real = path.format(**{p["name"]: known.get(p["name"], 1) for p in operation["parameters"]})
    requests += [(real, {name: junk}, None) for name in parameters for junk in JUNK]
    requests += [(real, {}, {n: v}) for n in fields_of(operation) for v in values]

    for address, query, body in requests:
        kwargs = {"query_params": query} if query else {}
        r = getattr(client, method)(address, body, **kwargs)
        assert r.status_code < 500, (address, query, body, r.content)
        if r.status_code >= 400:
            is_problem(r)


# ---- when it is our fault -----------------------------------------------------------------------


def test_a_database_that_is_away(world, as_, monkeypatch):
    monkeypatch.setattr(
        "tasks.api.tasks.find_task", lambda *a: (_ for _ in ()).throw(OperationalError("gone"))
    )

    r = as_(world.ada).get("/tasks/1")

    assert (r.status_code, is_problem(r)["code"]) == (503, "unavailable")
    assert r.headers["Retry-After"] == "1"


def test_a_bug_rolls_back_and_is_logged_with_its_trace(world, as_, events, monkeypatch, caplog):
    client = as_(world.ada)
    before = len(events(world.acme))
    monkeypatch.setattr("tasks.api.tasks.find_task", lambda *a: 1 / 0)

    r = client.post("/tasks", {"project_id": world.apollo.pk, "title": "half"})

    body = is_problem(r)
    assert (r.status_code, body["code"]) == (500, "internal_error")
    assert "division" not in json.dumps(body)
    assert len(events(world.acme)) == before
    (record,) = [x for x in caplog.records if x.name == "taskflow.errors"]
    assert record.exc_info[0] is ZeroDivisionError
    assert record.request_id == body["request_id"]
