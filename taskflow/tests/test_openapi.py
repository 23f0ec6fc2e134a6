"""The API's description, which clients are generated from."""

from __future__ import annotations

import json

import pytest

from taskflow.api import api

SCHEMA = json.loads(json.dumps(api.get_openapi_schema(), default=str))
OPERATIONS = {
    operation["operationId"]: (method, path, operation)
    for path, methods in SCHEMA["paths"].items()
    for method, operation in methods.items()
}
SCHEMAS = SCHEMA["components"]["schemas"]
SERVER_OWNED = {
    "id", "tenant", "tenant_id", "created_by", "created_by_id", "number", "version", "completed_at",
    "created_at", "updated_at", "is_superuser", "digest", "joined_at",
}  # fmt: skip


def test_it_is_openapi_3_1_with_unique_readable_ids():
    assert SCHEMA["openapi"].startswith("3.1")
    count = sum(len(methods) for methods in SCHEMA["paths"].values())
    assert len(OPERATIONS) == count
    assert all(name.replace("_", "").isalpha() and len(name) < 25 for name in OPERATIONS)


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_is_described_and_locked(name):
    _method, path, operation = OPERATIONS[name]

    assert operation.get("description"), "the docs page would be blank"
    assert path.count("{") <= 1, "two ids in a path can disagree"
    if name not in ("register", "login"):
        assert operation["security"], "anyone could call this"
        assert {"401", "403", "422"} <= operation["responses"].keys()
    if "{" in path:
        assert "404" in operation["responses"]


def test_the_names_that_clients_know_are_there():
    known = {
        f"{noun}{kind}"
        for noun in ("User", "Project", "Task", "Tag", "ProjectMember")
        for kind in ("Create", "Update", "Response", "Page")
    }

    assert known <= SCHEMAS.keys()
    assert {"Status", "Priority", "ProjectStatus", "Role", "Kind", "Scope"} <= SCHEMAS.keys()
    assert SCHEMAS["Status"]["enum"] == ["todo", "in_progress", "done"]
    assert SCHEMAS["Problem"]


@pytest.mark.parametrize("name", [n for n in SCHEMAS if n.endswith(("Create", "Update"))])
def test_what_the_server_owns_is_in_no_body(name):
    assert not SERVER_OWNED & SCHEMAS[name]["properties"].keys()
    assert SCHEMAS[name]["additionalProperties"] is False


def test_answers_are_complete():
    for name, schema in SCHEMAS.items():
        if name.endswith(("Response", "Page")):
            assert set(schema["required"]) == schema["properties"].keys(), name


def test_nothing_unused_is_described():
    text = json.dumps(SCHEMA)
    assert [n for n in SCHEMAS if f'schemas/{n}"' not in text] == []
