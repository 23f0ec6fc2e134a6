"""Booleans are true or false: in query strings as text, in bodies as JSON. Nothing else is one."""

from __future__ import annotations

import re

import pytest

from taskflow.tests.contract import api_document
from taskflow.tests.test_methods import EXISTING

pytestmark = pytest.mark.one_database

OTHERS = ["1", "0", "yes", "no", "on", "True", "TRUE", "t", " true", "true ", "null", "", "½"]


def is_boolean(schema):
    return any(s.get("type") == "boolean" for s in schema.get("anyOf", [schema]))


PARAMETERS = [
    (method, re.sub(r"{(\w+)}", lambda m: EXISTING.get(m[1], "1"), path), parameter["name"])
    for path, methods in api_document()["paths"].items()
    for method, operation in methods.items()
    for parameter in operation.get("parameters", ())
    if parameter["in"] == "query" and is_boolean(parameter["schema"])
]


def test_the_document_has_the_boolean_parameters():
    assert {name for *_, name in PARAMETERS} == {
        "dry_run", "force", "ready", "tag_none", "parent_none", "blocked_by_none",
        "external_ref_none", "due_none", "overdue", "is_active", "is_published", "bom", "keep_numbers",
        "open", "unread",
    }  # fmt: skip


@pytest.mark.sampled(12)
@pytest.mark.parametrize(("method", "path", "name"), PARAMETERS)
@pytest.mark.slow
def test_boolean_parameter_is_true_or_false(fixtures, as_, method, path, name):
    client = as_(fixtures.boss)
    for text in OTHERS:
        r = client.generic(method.upper(), f"{path}?{name}={text.replace(' ', '%20')}")

        assert (r.status_code, r.json()["errors"][0]["parameter"]) == (422, name), (text, r.json())
        assert "must be true or false" in r.json()["detail"]
    repeated = client.generic(method.upper(), f"{path}?{name}=true&{name}=true")
    assert (repeated.status_code, repeated.json()["errors"][0]["code"]) == (422, "repeated")


@pytest.mark.parametrize("text", ["true", "false"])
@pytest.mark.parametrize(
    "query", ["ready", "tag_none", "parent_none", "blocked_by_none", "external_ref_none"]
)
def test_true_and_false_are_accepted(fixtures, as_, query, text):
    assert as_(fixtures.ada).get(f"/tasks?{query}={text}").status_code == 200


@pytest.mark.parametrize("value", ["true", "yes", 1, 0, None, [True]])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/tasks/bulk", lambda v: {"operations": [{"op": "complete", "id": "APO-1", "force": v}]}),
        ("/tasks/bulk", lambda v: {"operations": [{"op": "delete", "where": {"ready": v}}]}),
        ("/tasks", lambda v: {"project": "APO", "title": "x", "force": v}),
        ("/pages", lambda v: {"project": "APO", "title": "x", "is_published": v}),
        ("/tasks", lambda v: {"project": "APO", "title": "x", "dry_run": v}),
    ],
)
def test_boolean_of_a_body_is_no_text_and_no_number(fixtures, as_, path, body, value):
    r = as_(fixtures.ada).post(path, body(value))

    assert r.status_code == 422
    assert r.json()["errors"][0]["code"] in ("wrong_type", "invalid")
