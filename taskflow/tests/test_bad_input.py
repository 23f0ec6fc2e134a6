"""Invalid input gets a problem document, changes nothing and never causes a 500."""

from __future__ import annotations

import json

import pytest
from django.conf import settings
from django.db import OperationalError

from conftest import API, ApiClient, hide_id, token_of
from taskflow.tenancy import inside
from taskflow.tests.contract import api_document
from tasks.api import tasks as task_api
from tasks.models import Task

pytestmark = pytest.mark.one_database

PROBLEM = "application/problem+json"


def send(client, body, path="/tags", **headers):
    """Send the body unchanged, even if it is no JSON."""
    body = body if isinstance(body, bytes) else body.encode()
    kwargs = {"content_type": "application/json"} | headers
    return client.generic("POST", path, body, **kwargs)


def check_problem(r):
    body = r.json()
    assert r.headers["Content-Type"].startswith(PROBLEM), r.content
    assert body["status"] == r.status_code
    assert body["request_id"] == r.headers["X-Request-Id"]
    assert body["type"] == f"/api/v1/docs/errors#{body['code']}"
    assert len(body["detail"]) > 10
    return body


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("{", 400, "malformed_json"),
        ('{"name": "\\u0000"}'.encode("utf-16"), 400, "malformed_json"),
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
        ('{"name": ' + "[" * 17 + "]" * 17 + "}", 400, "malformed_json"),
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
def test_malformed_body_is_refused(fixtures, as_, events, body, status, code):
    client = as_(fixtures.ada)
    before = len(events(fixtures.acme))

    r = send(client, body)

    assert (r.status_code, check_problem(r)["code"]) == (status, code)
    assert len(events(fixtures.acme)) == before


@pytest.mark.parametrize(
    ("metadata", "status"),
    [
        ('{"a": 1.5e18}', 201),
        ('{"a": 1e308}', 400),  # PostgreSQL returns 309 digits, which a body may not contain
        ('{"a": 1e999}', 400),  # read as infinity, which is not JSON
        ('{"a": -1e999}', 400),
        ('{"a": 9223372036854775807}', 201),
        ('{"a": 9223372036854775808}', 400),
        ('{"\\u0000": 1}', 400),
        ('{"\\ud800": 1}', 400),
        (b'{"\xed\xa0\x80": 1}', 400),  # a lone surrogate, as bytes
        ('{"\\ud83d\\ude80": 1}', 201),  # a whole one
        ('{"a": 1, "a": 1}', 400),
        ('{"a": ' * 15 + "1" + "}" * 15, 201),  # sixteen deep with the body itself
        ('{"a": ' * 16 + "1" + "}" * 16, 400),
        ("[1]", 422),
        ("null", 422),
        ('{"a": "' + "x" * 40_000 + '"}', 422),
    ],
)
def test_metadata_is_stored_or_refused(fixtures, as_, metadata, status):
    """Any JSON object is accepted that can be stored and read back unchanged."""
    client = as_(fixtures.ada)
    metadata = metadata if isinstance(metadata, bytes) else metadata.encode()
    start = b'{"project_id": %d, "title": "x", "metadata": ' % fixtures.apollo.pk

    r = send(client, start + metadata + b"}", "/tasks")

    assert r.status_code == status, r.content
    if status == 201:
        returned = client.get(f"/tasks/{r.json()['id']}").json()["metadata"]
        assert returned == json.loads(metadata)
    else:
        check_problem(r)


DAYS = ["2026-02-29", "1969-12-31", "2200-01-01", "0001-01-01", "2026-1-1", "20260101", "2026",
        "1700000000", 1700000000, 0, True, "", "today", "2026-01-31T00:00:00Z"]  # fmt: skip
TIMESTAMPS = ["2026-01-31T09:00:00", "2026-01-31", "1969-12-31T23:59:59Z", "2200-01-01T00:00:00Z",
            "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1970-01-01T00:00:00+00:01",
            "2199-12-31T23:59:59-00:01", "1700000000", 1700000000, 1.5, True, "",
            "2026-01-31T25:00:00Z", "2026-01-31T09:00:00+25:00"]  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value"),
    [("due_on", d) for d in DAYS] + [("due_date", i) for i in TIMESTAMPS],
)
def test_invalid_date_in_a_body_is_refused_with_its_pointer(fixtures, as_, events, field, value):
    client = as_(fixtures.ada)
    before = len(events(fixtures.acme))

    r = client.patch("/tasks/APO-1", {field: value})

    assert (r.status_code, check_problem(r)["code"]) == (422, "validation_failed")
    assert r.json()["errors"][0]["pointer"] == f"#/{field}"
    assert len(events(fixtures.acme)) == before


@pytest.mark.parametrize("value", ["2026", "1700000000", "2026-01-31T09:00:00", "0"])
def test_invalid_date_in_a_filter_is_refused_by_name(fixtures, as_, value):
    for name in ("due_before", "due_after"):
        r = as_(fixtures.ada).get("/tasks", query_params={name: value})
        assert (r.status_code, check_problem(r)["errors"][0]["parameter"]) == (422, name)


@pytest.mark.parametrize(
    ("field", "value", "read"),
    [
        ("due_on", "1970-01-01", "1970-01-01"),
        ("due_on", "2199-12-31", "2199-12-31"),
        ("due_date", "2026-01-31t09:00:00+05:30", "2026-01-31T03:30:00Z"),
        ("due_date", "1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
        ("due_date", "2199-12-31T23:59:59Z", "2199-12-31T23:59:59Z"),
    ],
)
def test_valid_date_is_stored_and_returned_in_utc(fixtures, as_, field, value, read):
    assert as_(fixtures.ada).patch("/tasks/APO-1", {field: value}).json()[field] == read


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/xml", ""])  # fmt: skip
def test_body_of_another_content_type_is_refused(fixtures, as_, kind):
    r = send(as_(fixtures.ada), '{"name": "x"}', content_type=kind)

    assert (r.status_code, check_problem(r)["code"]) == (415, "unsupported_media_type")


def test_chunked_body_is_refused(fixtures, as_):
    r = send(as_(fixtures.ada), "", HTTP_TRANSFER_ENCODING="chunked")

    assert (r.status_code, check_problem(r)["code"]) == (411, "length_required")


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
        ("get", "/projects/a%00b", 404, "not_found"),
        ("post", "/tasks/%00/completion", 404, "not_found"),
        ("get", "/tasks/%ff%fe", 404, "not_found"),
        ("get", "/tasks/%ED%A0%80", 404, "not_found"),
        ("get", "/tasks/%zz%", 404, "not_found"),
        ("get", "/users/" + "9" * 5000, 404, "not_found"),
        ("get", "/tasks/%F0%9F%9A%80", 404, "not_found"),
        ("get", "/tasks/1' OR 1=1 --", 404, "not_found"),
        ("delete", "/tasks", 405, "method_not_allowed"),
        ("put", "/me", 405, "method_not_allowed"),
        ("trace", "/tasks", 405, "method_not_allowed"),
        ("get", "/tasks?tag=a%00b", 400, "bad_request"),
        ("get", "/tasks?limit=1&limit=2", 422, "invalid"),
        ("get", "/tasks?cursor=", 400, "invalid_cursor"),
        ("get", "/tasks?" + "a=1&" * 1200, 400, "bad_request"),
        ("get", "/users?is_active=maybe", 422, "validation_failed"),
        ("get", "/tasks?cursor=x", 400, "invalid_cursor"),
        ("get", "/tasks?project=99999999999999999999999", 422, "invalid"),
        ("get", "/tasks?due_before=0001-01-01T00:00:00%2B14:00", 422, "validation_failed"),
        ("get", "/tasks?due_before=9999-12-31T23:59:59-14:00", 422, "validation_failed"),
        ("get", "/tasks?limit=99999999999999999999999", 422, "validation_failed"),
        ("get", "/me?x=1", 422, "invalid"),
        ("get", "/me?x", 422, "invalid"),
    ],
)
def test_wrong_path_or_method_gets_a_problem_document(fixtures, as_, method, path, status, code):
    r = getattr(as_(fixtures.ada), method)(path)

    assert (r.status_code, check_problem(r)["code"]) == (status, code)
    assert ("Allow" in r.headers) == (status == 405)


def test_unknown_host_is_refused(fixtures):
    r = ApiClient(token_of(fixtures.ada), SERVER_NAME="evil.example").get("/me")

    assert (r.status_code, check_problem(r)["code"]) == (400, "bad_request")


@pytest.mark.parametrize("cookie", ["x", "a" * 32, '"\\000aaaaaaaaaaaaaaa"', "é" * 20, "' OR 1"])
def test_forged_session_cookie_is_refused(fixtures, cookie):
    r = ApiClient().get("/me", HTTP_COOKIE=f"{settings.SESSION_COOKIE_NAME}={cookie}")

    assert (r.status_code, check_problem(r)["code"]) == (401, "unauthenticated")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", 1), ("title", None), ("title", ""), ("title", "   "), ("title", ["x"]),
        ("title", "x" * 501), ("status", "Done"), ("status", 1), ("priority", None),
        ("project_id", "1"), ("project_id", True), ("project_id", 1.0), ("project_id", 0),
        ("project_id", -1), ("assignee_id", False), ("assignee_id", "1"), ("assignee_id", {}),
        ("tags", "x"), ("tags", [1]), ("tags", [None]), ("tags", ["x"] * 51), ("tags", [""]),
        ("description", 1), ("description", "x" * 65_537), ("external_ref", ""),
        ("tenant", 1), ("tenant_id", 1), ("created_by", 1), ("version", 9), ("number", 9),
        ("completed_at", None), ("id", 9), ("Title", "x"),
    ],
)  # fmt: skip
def test_invalid_field_is_refused_with_its_pointer(fixtures, as_, events, field, value):
    client = as_(fixtures.ada)
    body = {"project_id": fixtures.apollo.pk, "title": "x"} | {field: value}
    before = len(events(fixtures.acme))

    r = client.post("/tasks", body)

    assert (r.status_code, check_problem(r)["code"]) == (422, "validation_failed")
    assert r.json()["errors"][0]["pointer"].startswith(f"#/{field}")
    assert len(events(fixtures.acme)) == before
    with inside(fixtures.acme):
        assert Task.objects.count() == 1


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
def test_invisible_row_gets_the_same_response_as_a_missing_row(
    fixtures, as_, role, method, path, body
):
    client = as_(getattr(fixtures, role))

    def response_to(**ids):
        sent = body and {k: int(v.format(**ids)) if "{" in str(v) else v for k, v in body.items()}
        r = getattr(client, method)(path.format(**ids), sent)
        problem = {**check_problem(r), "request_id": ""}
        return r.status_code, hide_id(problem, ids["project"])

    invisible = response_to(task=fixtures.task.pk, project=fixtures.apollo.pk)

    assert invisible == response_to(task=999_999, project=999_999)
    with inside(fixtures.acme):
        assert Task.objects.get().title == "Launch"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("get", "/users/{}", None),
        ("patch", "/users/{}", {"full_name": "x"}),
        ("delete", "/users/{}", None),
        ("post", "/users", {"kind": "agent", "responsible_id": "{}"}),
        ("post", "/tokens", {"name": "x", "user_id": "{}"}),
        ("post", "/projects", {"name": "x", "owner_id": "{}"}),
        ("patch", "/projects/SEC", {"owner_id": "{}"}),
        ("post", "/projects/SEC/members", {"user_id": "{}"}),
        ("patch", "/tasks/SEC-1", {"assignee_id": "{}"}),
        ("get", "/tasks?assignee={}", None),
        ("get", "/projects?owner={}", None),
    ],
)
def test_user_of_another_tenant_gets_the_same_response_as_a_missing_user(
    fixtures, as_, events, method, path, body
):
    """The responses are equal except for the id, in every place that takes a user."""
    client = as_(fixtures.mallory)
    before = [len(events(tenant)) for tenant in (fixtures.acme, fixtures.globex)]

    def response_to(user_id):
        sent = body and {k: user_id if v == "{}" else v for k, v in body.items()}
        r = getattr(client, method)(path.format(user_id), sent)
        return r.status_code, hide_id({**check_problem(r), "request_id": ""}, user_id)

    invisible = response_to(fixtures.ada.user.pk)

    assert invisible[0] in (404, 422)
    assert invisible == response_to(999_999)
    assert [len(events(tenant)) for tenant in (fixtures.acme, fixtures.globex)] == before


JUNK = ["", "x", "-1", "0", "9" * 30, "null", "true", "[]", "{}", "\u202e", "💥", "a" * 5000]
SCHEMA = api_document()
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
@pytest.mark.slow
def test_random_input_never_causes_a_server_error(fixtures, as_, method, path, operation):
    client = as_(fixtures.boss)
    path = path.removeprefix(API)
    parameters = [p["name"] for p in operation["parameters"] if p["in"] == "query"]
    values = [*JUNK, None, 1, -1, 1.5, True, [], [None], {}, {"a": None}, "2026-99-99"]
    requests = [(path.replace("{", "").replace("}", ""), {}, None)]
    known = {"task_id": fixtures.task.pk, "project_id": fixtures.apollo.pk}
    real = path.format(**{p["name"]: known.get(p["name"], 1) for p in operation["parameters"]})
    # Each parameter gets a part of the values, so that the test stays short.
    requests += [
        (real, {x: junk}, None) for n, x in enumerate(parameters) for junk in JUNK[n % 3 :: 3]
    ]
    requests += [
        (real, {}, {x: v}) for n, x in enumerate(fields_of(operation)) for v in values[n % 2 :: 2]
    ]

    for address, query, body in requests:
        kwargs = {"query_params": query} if query else {}
        r = getattr(client, method)(address, body, **kwargs)
        assert r.status_code < 500, (address, query, body, r.content)
        if r.status_code >= 400:
            check_problem(r)


# ---- failures of the server -----------------------------------------------------------------------


def test_unavailable_database_gets_503_with_retry_after(fixtures, as_, monkeypatch):
    monkeypatch.setattr(
        task_api, "task_response", lambda *a: (_ for _ in ()).throw(OperationalError("gone"))
    )

    r = as_(fixtures.ada).get("/tasks/1")

    assert (r.status_code, check_problem(r)["code"]) == (503, "unavailable")
    assert r.headers["Retry-After"] == "1"


def test_unexpected_exception_rolls_back_and_is_logged_with_its_traceback(
    fixtures, as_, events, monkeypatch, caplog
):
    client = as_(fixtures.ada)
    before = len(events(fixtures.acme))
    monkeypatch.setattr(task_api, "updated_response", lambda *a, **k: 1 / 0)

    r = client.post("/tasks", {"project_id": fixtures.apollo.pk, "title": "half"})

    body = check_problem(r)
    assert (r.status_code, body["code"]) == (500, "internal_error")
    assert "division" not in json.dumps(body)
    assert len(events(fixtures.acme)) == before
    (record,) = [x for x in caplog.records if x.name == "taskflow.errors"]
    assert record.exc_info[0] is ZeroDivisionError
    assert record.request_id == body["request_id"]
