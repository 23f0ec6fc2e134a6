"""Every value in every field of every write is stored or refused, and is never a 500."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from taskflow.tests.contract import api_document
from taskflow.tests.test_dry_run import BODIES, filled
from taskflow.tests.test_dry_run import ids as ids  # a fixture
from tasks.schemas.task_filters import TaskWhere
from tasks.schemas.tasks import TaskUpdate

pytestmark = pytest.mark.slow

HOLE = "@hole"  # in a body: where a value is put
# JSON as text, since Python cannot write all of it.
VALUES = [
    "null", "true", "0", "-1", "1.5", "1e400", "NaN", "-Infinity",
    str(2**31), str(2**53), str(2**63 - 1), str(2**63), str(-(2**63) - 1), "9" * 400,
    '""', '" "', '"\\u0000"', '"\\ud800"', '"\\ud83d\\ude00"', '"a\\u202eb\\u200b"', '"a\\nb"',
    '"%s{}\\\\"', '"' + "x" * 70_000 + '"', '"' + "ß" * 255 + '"', '"2026-02-30"', '"0000-01-01"',
    "[]", "{}", "[null]", "[[]]", '[{}, 1, "a"]', '{"": {"": []}}', '{"$ne": null}',
    "[" * 12 + "]" * 12, "[" * 40 + "]" * 40, '{"a":' * 12 + "1" + "}" * 12,
    "[" + ",".join(["1"] * 5000) + "]", "[" + ",".join(['"x"'] * 5000) + "]",
    '["a", "a"]', '{"a": 1, "a": 2}',
]  # fmt: skip
TEXTS = ["\0", "\ud800", "", " ", "9" * 5000, str(2**63), "-1", "x" * 5000, "½", "[]", "{", "null"]
# Their fields are checked one level down.
BULK = "post /tasks/bulk"
LINK = {"url": "https://example.com", "title": "x"}
NESTED = [
    ("operations", {"operations": [HOLE]}),
    *((f"update {name}", {"operations": [{"op": "update", "id": "APO-1", "data": {name: HOLE}}]})
      for name in TaskUpdate.model_fields),
    *((f"where {name}", {"operations": [{"op": "delete", "where": {"project": ["APO"], name: HOLE}}]})
      for name in TaskWhere.model_fields),
    *((f"link {name}", {"operations": [
        {"op": "update", "id": "APO-1", "data": {"links": [LINK | {name: HOLE}]}}]})
      for name in LINK),
    ("metadata key", {"operations": [
        {"op": "delete", "where": {"project": ["APO"], "metadata": {"a": {"b": HOLE}}}}]}),
]  # fmt: skip


def writes():
    """Each write that reads JSON, by its name, with its operation in the document."""
    return {
        f"{method} {path.removeprefix('/api/v1')}": operation
        for path, methods in api_document()["paths"].items()
        for method, operation in methods.items()
        if method != "get"
    }


def bodies_of(name, operation):
    """The bodies of a write with a hole in one field, by the name of the field."""
    content = operation.get("requestBody", {}).get("content", {})
    reference = content.get("application/json", {}).get("schema", {}).get("$ref", "")
    schema = api_document()["components"]["schemas"].get(reference.rpartition("/")[2], {})
    base = BODIES.get(name, BODIES.get(name.replace("put ", "patch "), {}))
    bodies = [(field, base | {field: HOLE}) for field in schema.get("properties", {})]
    return bodies + (NESTED if name == BULK else [])


WRITES = writes()
WITH_BODY = [name for name, operation in WRITES.items() if bodies_of(name, operation)]


def is_refused_or_done(r):
    if 400 <= r.status_code < 500:
        return r["Content-Type"].startswith("application/problem+json")
    return 200 <= r.status_code < 300


def address_of(name, ids):
    query = (
        "?dry_run=true" if any(p["name"] == "dry_run" for p in WRITES[name]["parameters"]) else ""
    )
    return name.partition(" ")[2].format(**ids) + query


@pytest.mark.parametrize("name", WITH_BODY)
def test_any_value_in_a_field_is_stored_or_refused(fixtures, as_, ids, name):
    client = as_(fixtures.boss)
    method, address = name.partition(" ")[0], address_of(name, ids)
    for field, body in bodies_of(name, WRITES[name]):
        template = json.dumps(filled(body, ids))
        for value in VALUES:
            text = template.replace(f'"{HOLE}"', value)

            r = client.generic(method.upper(), address, text, content_type="application/json")

            assert is_refused_or_done(r), (field, value[:80], r.status_code, r.content[:300])


@pytest.mark.parametrize("name", WRITES)
def test_any_text_in_a_query_parameter_is_accepted_or_refused(fixtures, as_, ids, name):
    client = as_(fixtures.boss)
    method, path = name.partition(" ")[0], name.partition(" ")[2].format(**ids)
    for parameter in WRITES[name].get("parameters", ()):
        for text in TEXTS if parameter["in"] == "query" else ():
            sent = quote(text.encode("utf-8", "surrogatepass"))
            address = f"{path}?dry_run=true&{parameter['name']}={sent}"

            r = client.generic(method.upper(), address, "", content_type="application/json")

            assert is_refused_or_done(r), (parameter["name"], text[:80], r.content[:300])


@pytest.mark.parametrize("name", [n for n in WITH_BODY if n.startswith("patch") and "{" in n])
def test_any_value_in_a_merge_patch_is_stored_or_refused(fixtures, as_, ids, name):
    client = as_(fixtures.boss)
    address = address_of(name, ids)
    for value in VALUES:
        r = client.generic(
            "PATCH",
            address,
            f'{{"metadata": {value}}}',
            content_type="application/merge-patch+json",
        )

        assert is_refused_or_done(r), (value[:80], r.status_code, r.content[:300])
