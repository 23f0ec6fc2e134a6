"""The quick check of JSON Schemas accepts only values that a validator accepts."""

from __future__ import annotations

import json

import pytest
from jsonschema import Draft202012Validator

from taskflow.tests.contract import api_document, closed
from taskflow.tests.quick_schema import QuickSchemas

COMPONENTS = {
    "Task": {
        "type": "object",
        "properties": {
            "id": {"type": "integer", "minimum": 1, "maximum": 9},
            "title": {"type": "string", "minLength": 1, "maxLength": 3, "pattern": "^[a-z]+$"},
            "status": {"enum": ["todo", "done"]},
            "due": {"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
            "kind": {"const": "task"},
            "counts": {"type": "object", "additionalProperties": {"type": "integer"}},
            "tasks": {
                "type": "array",
                "items": {"$ref": "#/components/schemas/Task"},
                "maxItems": 1,
            },
            "both": {"allOf": [{"type": "number"}, {"minimum": 0}]},
        },
        "required": ["id"],
        "additionalProperties": False,
    }
}
REFERENCE = {"$ref": "#/components/schemas/Task"}
VALID = [
    {"id": 1},
    {"id": 9, "title": "abc", "status": "done", "due": None, "kind": "task"},
    {"id": 2, "due": "2026-01-05", "counts": {"a": 1}, "tasks": [{"id": 3}], "both": 0.5},
]
INVALID = [
    {}, [], None, "x", {"id": 0}, {"id": 10}, {"id": "1"}, {"id": True}, {"id": None},
    {"id": 1, "title": ""}, {"id": 1, "title": "abcd"}, {"id": 1, "title": "A"},
    {"id": 1, "status": "open"}, {"id": 1, "due": "tomorrow"}, {"id": 1, "due": 1},
    {"id": 1, "kind": "page"}, {"id": 1, "counts": {"a": "x"}}, {"id": 1, "counts": []},
    {"id": 1, "tasks": [{}]}, {"id": 1, "tasks": [{"id": 1}, {"id": 2}]}, {"id": 1, "tasks": {}},
    {"id": 1, "both": -1}, {"id": 1, "both": "x"}, {"id": 1, "other": 1},
]  # fmt: skip


@pytest.mark.parametrize("value", VALID, ids=json.dumps)
def test_valid_value_is_accepted(value):
    assert QuickSchemas(COMPONENTS).compile(REFERENCE)(value)


@pytest.mark.parametrize("value", INVALID, ids=json.dumps)
def test_invalid_value_is_not_accepted(value):
    document = REFERENCE | {"components": {"schemas": COMPONENTS}}
    formats = Draft202012Validator.FORMAT_CHECKER
    assert not Draft202012Validator(document, format_checker=formats).is_valid(value)

    assert not QuickSchemas(COMPONENTS).compile(REFERENCE)(value)


def test_schema_with_an_unknown_keyword_accepts_nothing():
    accepts = QuickSchemas({}).compile({"type": "object", "patternProperties": {}})

    assert not accepts({})


def test_response_of_one_task_is_accepted(fixtures, as_):
    schemas = closed(api_document())["components"]["schemas"]
    accepts = QuickSchemas(schemas).compile({"$ref": "#/components/schemas/TaskResponse"})
    task = as_(fixtures.ada).get("/tasks/APO-1").json()

    assert accepts(task)
    assert not accepts(task | {"status": "unknown"})
    assert not accepts(task | {"more": 1})
