"""Bodies of operations without a body are refused; the problem names the query parameters."""

from __future__ import annotations

import json
import re

import pytest

from taskflow.tenancy import inside
from taskflow.tests.contract import api_contract, api_document
from tasks.models import Task

DOCUMENT = api_contract().document
OPERATIONS = {
    operation["operationId"]: (method, path, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
}
WITHOUT_BODY = [name for name in OPERATIONS if "requestBody" not in OPERATIONS[name][2]]
WRITES_WITH_BODY = [
    name
    for name, (method, _path, operation) in OPERATIONS.items()
    # An operation that also takes other types reads files, which have no fields.
    if method != "get"
    and {"application/json"} == {*operation.get("requestBody", {}).get("content", {})}
]
BODIES = [
    ('{"dry_run": true}', "application/json"),
    ("{not json", "application/json"),
    ("{}", "application/json"),
    (" ", "application/json"),
    ("\0", "text/csv"),
    ("dry_run=true", "application/x-www-form-urlencoded"),
    ("--x--", "multipart/form-data; boundary=x"),
]


def filled(path):
    """Return a path of the operation. Its rows need not exist."""
    return re.sub(r"\{\w+\}", "1", path.replace("{kind}", "task"))


def query_parameters(operation):
    return {p["name"]: p["schema"] for p in operation["parameters"] if p["in"] == "query"}


def fields_of_body(operation):
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    name = schema.get("$ref", "").rpartition("/")[2]
    return api_document()["components"]["schemas"].get(name, {}).get("properties", {}).keys()


@pytest.mark.sampled(10)
@pytest.mark.parametrize("name", WITHOUT_BODY)
def test_operation_without_declared_body_refuses_every_body(fixtures, as_, name):
    method, path, operation = OPERATIONS[name]
    client = as_(fixtures.boss)

    for body, kind in BODIES:
        r = client.generic(method.upper(), filled(path), body, kind)

        assert (r.status_code, r.json()["code"]) == (422, "unexpected_body"), (body, kind)
    if method != "get":
        for parameter, schema in query_parameters(operation).items():
            assert schema["type"] == "boolean", "the refusal says =true"
            assert f"?{parameter}=true" in r.json()["detail"]


@pytest.mark.sampled(10)
@pytest.mark.parametrize("name", WRITES_WITH_BODY)
def test_query_parameter_in_a_body_is_refused_and_the_detail_says_where_it_belongs(
    fixtures, as_, name
):
    method, path, operation = OPERATIONS[name]
    known = query_parameters(operation)
    client = as_(fixtures.boss)

    for parameter in {"dry_run", "force"} - fields_of_body(operation):
        r = client.generic(
            method.upper(), filled(path), json.dumps({parameter: True}), "application/json"
        )

        assert r.status_code == 422
        (error,) = [e for e in r.json()["errors"] if e.get("pointer") == f"#/{parameter}"]
        assert error["code"] == "extra_forbidden"
        assert (f"?{parameter}=true" in error["detail"]) == (parameter in known)


def test_delete_with_dry_run_in_the_body_deletes_nothing(fixtures, as_):
    r = as_(fixtures.ada).delete("/tasks/APO-1", {"dry_run": True})

    assert r.status_code == 422
    assert r.json()["detail"] == (
        "This operation takes no body. Send the request without one. Its options are query"
        " parameters: ?dry_run=true."
    )
    with inside(fixtures.acme):
        assert Task.objects.filter(pk=fixtures.task.pk).exists()


def test_reopening_with_force_in_the_body_names_both_parameters(fixtures, as_):
    r = as_(fixtures.ada).delete("/tasks/APO-1/completion", {"force": True})

    assert "?dry_run=true and ?force=true" in r.json()["detail"]


@pytest.mark.parametrize("method", ["get", "head"])
def test_read_with_a_body_is_refused(fixtures, as_, method):
    r = as_(fixtures.ada).generic(
        method.upper(), "/tasks", '{"status": "done"}', "application/json"
    )

    assert r.status_code == 422


def test_operation_without_required_body_works_without_one(fixtures, as_):
    client = as_(fixtures.ada)

    assert client.post("/tasks/APO-1/completion").status_code == 200
    assert client.post("/tasks/APO-1/completion", CONTENT_LENGTH="0").status_code == 200
    assert client.delete("/tasks/APO-1").status_code == 204
