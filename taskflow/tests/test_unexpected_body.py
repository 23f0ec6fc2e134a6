"""Bodies of operations without a body are refused; the problem names the query parameters."""

from __future__ import annotations

import json
import re

import pytest

from taskflow.tenancy import inside
from taskflow.tests.contract import api_contract, api_document
from tasks.models import Task

pytestmark = pytest.mark.one_database

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


@pytest.mark.parametrize("name", WRITES_WITH_BODY)
def test_option_in_a_body_is_accepted_by_operations_that_have_the_parameter(fixtures, as_, name):
    method, path, operation = OPERATIONS[name]
    known = query_parameters(operation)
    client = as_(fixtures.boss)

    for option in ("dry_run", "force"):
        r = client.generic(
            method.upper(), filled(path), json.dumps({option: True, "nope": 1}), "application/json"
        )

        unknown = [e["pointer"] for e in r.json()["errors"] if e["code"] == "unknown_field"]
        is_field = option in fields_of_body(operation)
        expected = ["#/nope"] if option in known or is_field else [f"#/{option}", "#/nope"]
        assert (r.status_code, unknown) == (422, expected)


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


# ---- dry_run and force in a body ----------------------------------------------------------------


def test_dry_run_in_a_body_changes_nothing(fixtures, as_):
    client = as_(fixtures.ada)

    r = client.patch("/tasks/APO-1", {"title": "New", "dry_run": True})

    assert (r.status_code, r.json()["title"], r.headers["Dry-Run"]) == (200, "New", "true")
    assert client.get("/tasks/APO-1").json()["title"] == "Launch"


def test_dry_run_false_in_a_body_makes_the_change(fixtures, as_):
    r = as_(fixtures.ada).patch("/tasks/APO-1", {"title": "New", "dry_run": False})

    assert (r.json()["title"], "Dry-Run" in r.headers) == ("New", False)


def test_force_in_a_body_completes_a_task_with_open_subtasks(fixtures, as_):
    client = as_(fixtures.ada)
    client.post("/tasks", {"project_id": fixtures.apollo.pk, "title": "x", "parent": "APO-1"})

    refused = client.patch("/tasks/APO-1", {"status": "done", "force": False})
    r = client.patch("/tasks/APO-1", {"status": "done", "force": True})

    assert (refused.status_code, r.status_code, r.json()["status"]) == (409, 200, "done")


@pytest.mark.parametrize("option", ["dry_run", "force"])
@pytest.mark.parametrize(
    ("in_query", "in_body", "code"),
    [("true", False, "contradiction"), ("false", True, "contradiction"), ("", "yes", "wrong_type"),
     ("", None, "wrong_type"), ("", 1, "wrong_type")],
)  # fmt: skip
def test_option_with_two_values_or_of_a_wrong_type_is_refused(
    fixtures, as_, option, in_query, in_body, code
):
    client = as_(fixtures.ada)
    query = f"?{option}={in_query}" if in_query else ""

    r = client.patch(f"/tasks/APO-1{query}", {"title": "New", option: in_body})

    (error,) = r.json()["errors"]
    assert (r.status_code, error["pointer"], error["code"]) == (422, f"#/{option}", code)
    assert client.get("/tasks/APO-1").json()["title"] == "Launch"


def test_option_that_is_equal_in_query_and_body_is_accepted(fixtures, as_):
    r = as_(fixtures.ada).patch("/tasks/APO-1?dry_run=true", {"title": "New", "dry_run": True})

    assert (r.status_code, r.headers["Dry-Run"]) == (200, "true")


def test_option_whose_name_is_escaped_is_an_unknown_field(fixtures, as_):
    body = b'{"title": "New", "dry\\u005frun": true}'

    r = as_(fixtures.ada).generic("PATCH", "/tasks/APO-1", body, "application/json")

    assert (r.status_code, r.json()["errors"][0]["code"]) == (422, "unknown_field")


def test_option_inside_metadata_is_stored(fixtures, as_):
    r = as_(fixtures.ada).patch("/tasks/APO-1", {"metadata": {"dry_run": True, "force": 1}})

    assert r.json()["metadata"] == {"dry_run": True, "force": 1}
    assert "Dry-Run" not in r.headers
