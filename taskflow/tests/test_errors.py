"""Failures of the server: their problem documents, their log lines, and the rollback."""

from __future__ import annotations

import ast

import pytest
from django.db import InterfaceError, OperationalError, ProgrammingError
from django.db.backends.base.base import BaseDatabaseWrapper

from accounts import middleware
from conftest import ApiClient, token_of
from taskflow.http.errors import (
    PROBLEM_BY_STATUS,
    Internal,
    Invalid,
    Problem,
    problem_of_status,
)
from taskflow.tenancy import inside
from taskflow.tests.test_architecture import ROOT
from taskflow.tests.test_error_codes import product_files
from tasks.api import tasks as task_api
from tasks.models import Task

pytestmark = pytest.mark.one_database


def raising(error):
    def fail(*args, **kwargs):
        raise error

    return fail


@pytest.mark.parametrize(
    ("module", "function"),
    [(middleware, "find_live_token"), (task_api, "task_response")],
)
@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (OperationalError("the host db.internal is gone"), 503, "unavailable"),
        (InterfaceError("connection already closed"), 503, "unavailable"),
        (ProgrammingError("no such column: db.internal"), 500, "internal_error"),
        (OperationalError("no such table: db.internal"), 500, "internal_error"),
    ],
)
def test_database_error_gets_its_problem_document(
    fixtures, monkeypatch, caplog, module, function, error, status, code
):
    """The token is read first, outside the view. Its errors need the same response and log line."""
    client = ApiClient(token_of(fixtures.ada))
    monkeypatch.setattr(module, function, raising(error))

    r = client.get("/tasks/APO-1")

    assert (r.status_code, r.json()["code"]) == (status, code)
    assert r.headers["Content-Type"] == "application/problem+json"
    assert ("Retry-After" in r.headers) == (status == 503)
    assert "internal is gone" not in r.content.decode()
    (record,) = [x for x in caplog.records if x.name == "taskflow.errors"]
    assert (record.exc_info is not None) == (status == 500)
    assert str(error) in (record.getMessage() if status == 503 else str(record.exc_info[1]))
    assert record.request_id == r.json()["request_id"]


@pytest.mark.parametrize("error", [RuntimeError("x"), OperationalError("x"), Internal("x")])
def test_failure_after_a_write_rolls_it_back(fixtures, as_, events, monkeypatch, error):
    client = as_(fixtures.ada)
    before = len(events(fixtures.acme))
    monkeypatch.setattr(task_api, "updated_response", raising(error))  # builds the response

    r = client.post("/tasks", {"project_id": fixtures.apollo.pk, "title": "half"})

    assert r.status_code in (500, 503)
    assert len(events(fixtures.acme)) == before
    with inside(fixtures.acme):
        assert not Task.objects.filter(title="half").exists()


def test_exception_in_middleware_gets_a_problem_document(fixtures, monkeypatch):
    client = ApiClient(token_of(fixtures.ada))
    monkeypatch.setattr(middleware, "build_token_actor", raising(KeyError("secret")))

    r = client.get("/me")

    assert (r.status_code, r.json()["code"]) == (500, "internal_error")
    assert "secret" not in r.content.decode()
    assert r.json()["request_id"] == r.headers["X-Request-Id"]


@pytest.mark.parametrize("path", ["/me", "/auth/login", "/auth/register"])
def test_unreachable_database_gets_503(db, monkeypatch, path):
    """Also for requests without a user. A malformed token gets 401 without a query."""
    client = ApiClient("tf_1_" + "0" * 43)
    body = {"email": "a@b.example", "password": "x"}
    if path.endswith("register"):
        body |= {"tenant_name": "X", "subdomain": "x", "full_name": "X"}

    with monkeypatch.context() as away:
        away.setattr(BaseDatabaseWrapper, "cursor", raising(OperationalError("refused")))
        r = client.get(path) if path == "/me" else client.post(path, body)

    assert r.status_code == (401 if path == "/me" else 503)


@pytest.mark.parametrize("status", [400, 402, 404, 405, 413, 418, 500, 502])
def test_every_error_status_has_a_problem_class(status):
    problem = problem_of_status(status)

    assert isinstance(problem, Problem)
    assert problem.status == (status if status in PROBLEM_BY_STATUS else 500)


def kinds(of=Problem):
    for kind in of.__subclasses__():
        yield kind
        yield from kinds(kind)


def test_each_problem_class_has_its_stable_code():
    by_code = {kind.code: kind.__name__ for kind in kinds()}

    assert by_code == {
        "bad_request": "BadRequest",
        "invalid_cursor": "InvalidCursor",
        "unauthenticated": "Unauthenticated",
        "forbidden": "Forbidden",
        "quota_exceeded": "QuotaExceeded",
        "not_found": "NotFound",
        "method_not_allowed": "MethodNotAllowed",
        "request_timeout": "RequestTimeout",
        "conflict": "Conflict",
        "cursor_expired": "Gone",
        "length_required": "LengthRequired",
        "precondition_failed": "PreconditionFailed",
        "too_large": "TooLarge",
        "unsupported_media_type": "UnsupportedMedia",
        "invalid": "Invalid",
        "too_many_requests": "TooManyRequests",
        "too_many_attempts": "TooManyAttempts",
        "internal_error": "Internal",
        "unavailable": "Unavailable",
        "overloaded": "Overloaded",
        "database_silent": "Silent",
        "database_busy": "Busy",
        "lock_timeout": "LockTimeout",
        "statement_timeout": "StatementTimeout",
        "storage_full": "StorageFull",
        "too_many": "TooMuch",
        "contended": "Contended",
        "read_only": "ReadOnly",
    }, "clients match on these: add, don't rename"


@pytest.mark.slow
def test_no_constant_is_raised_itself():
    """Each raise adds to the traceback of its object, which keeps the request in memory."""
    raised = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in product_files()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Name) and node.exc.id.isupper()
    ]

    assert raised == []


def test_copy_of_a_problem_is_equal_and_has_no_traceback():
    problem = Invalid.field("name", "Send another one.", "taken")
    with pytest.raises(Invalid):
        raise problem

    other = problem.copy()

    assert (other.detail, other.code, other.errors) == (
        problem.detail,
        problem.code,
        problem.errors,
    )
    assert other.__traceback__ is None
