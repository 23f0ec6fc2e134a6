"""The check of responses against the OpenAPI document reports every difference."""

from __future__ import annotations

import gzip
import json
from types import SimpleNamespace

import pytest
from django.http import HttpResponse

from taskflow.http.errors import Problem
from taskflow.tests.contract import BrokenContract, Contract, api_contract, closed
from taskflow.tests.contract_report import Report, list_operations

pytestmark = pytest.mark.one_database

ROW = {
    "type": "object",
    "required": ["id", "at"],
    "properties": {
        "id": {"type": "integer"},
        "at": {"type": "string", "format": "date-time"},
        "open": {"type": "object", "additionalProperties": True},
        "other": {"anyOf": [{"$ref": "#/components/schemas/Row"}, {"type": "null"}]},
    },
}
CONTRACT = Contract(
    {
        "paths": {
            "/rows/{id}": {
                "get": {
                    "responses": {
                        "200": {
                            "headers": {"ETag": {"required": True}, "Retry-After": {}},
                            "content": {
                                "application/json": {"schema": {"$ref": "#/components/schemas/Row"}}
                            },
                        },
                        "204": {"description": "Nothing."},
                        "404": {"$ref": "#/components/responses/NotFound"},
                    }
                }
            }
        },
        "components": {
            "schemas": {"Row": ROW, "Problem": {"type": "object", "required": ["code"]}},
            "responses": {
                "NotFound": {
                    "content": {
                        "application/problem+json": {
                            "schema": {"$ref": "#/components/schemas/Problem"}
                        }
                    }
                }
            },
        },
    }
)
GOOD = {"id": 1, "at": "2026-12-01T09:00:00Z", "open": {"x": 1}}
OTHER = {"other": {"id": 2, "at": "2026-12-01T09:00:00Z", "x": 1}}


def response_of(body, *, status=200, kind="application/json", headers=None, route="rows/<int:id>"):
    headers = {"ETag": '"row-1-1"'} if headers is None else headers
    text = body if isinstance(body, bytes) else json.dumps(body)
    response = HttpResponse(text, status=status, content_type=kind, headers=headers)
    response.resolver_match = SimpleNamespace(route=route)
    return response


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_response_as_declared_passes(method):
    CONTRACT.check(method, response_of(GOOD))
    CONTRACT.check(method, response_of({"code": "x"}, status=404, kind="application/problem+json"))


@pytest.mark.parametrize(
    ("response", "fault"),
    [
        (response_of(GOOD, status=201), "201 is not declared"),
        (response_of(GOOD, kind="text/html"), "200 is text/html, not application/json"),
        (response_of(GOOD, headers={}), "has no header ETag"),
        (response_of({"id": 1}), "'at' is a required property"),
        (response_of(GOOD | {"id": "1"}), r"\$.id: '1' is not of type 'integer'"),
        (response_of(GOOD | {"at": "yesterday"}), "is not a 'date-time'"),
        (response_of(GOOD | {"at": "2026-12-01T09:00:00"}), "is not a 'date-time'"),
        (response_of(GOOD | {"more": 1}), "'more' was unexpected"),
        (response_of(GOOD | OTHER), "is not valid under any of the given schemas"),
        (response_of({"id": 1}, status=404, kind="application/problem+json"), "'code' is a required"),
        (response_of(b"", status=204), "204 has a body of application/json"),
        (response_of(GOOD, route="nowhere"), "200 is not declared"),
    ],
)  # fmt: skip
def test_response_that_is_not_as_declared_is_reported(response, fault):
    with pytest.raises(BrokenContract, match=fault):
        CONTRACT.check("GET", response)


def test_compressed_response_is_checked_as_its_body():
    def compressed(body):
        content = gzip.compress(json.dumps(body).encode())
        return response_of(content, headers={"ETag": '"row-1-1"', "Content-Encoding": "gzip"})

    CONTRACT.check("GET", compressed(GOOD))
    with pytest.raises(BrokenContract, match="'at' is a required property"):
        CONTRACT.check("GET", compressed({"id": 1}))


def test_undeclared_path_or_method_passes_only_with_a_problem():
    problem = response_of({"code": "x"}, status=405, kind="application/problem+json")

    CONTRACT.check("PUT", problem)
    with pytest.raises(BrokenContract, match=r"PUT .* is not declared"):
        CONTRACT.check("PUT", response_of(GOOD))


def test_closed_schema_keeps_open_objects_open():
    assert closed(ROW)["additionalProperties"] is False
    assert closed(ROW)["properties"]["open"]["additionalProperties"] is True
    assert "additionalProperties" not in ROW


def test_client_raises_for_a_response_that_is_not_as_declared(fixtures, as_, monkeypatch):
    monkeypatch.setattr(Problem, "as_dict", lambda problem, request_id=None: {"code": "x"})

    with pytest.raises(BrokenContract, match=r"GET /api/v1/tasks/{task_id} 404"):
        as_(fixtures.ada).get("/tasks/0")


# ---- the figure at the end of a run -------------------------------------------------------------


def test_validated_responses_are_counted_by_operation_and_status(fixtures, as_):
    counts = api_contract().validated
    before = counts["GET /api/v1/tasks/{task_id}", "200"], counts["GET /api/v1/tasks", "422"]
    client = as_(fixtures.ada)

    client.get("/tasks/APO-1")
    client.generic("HEAD", "/tasks/APO-1")
    client.get("/tasks?zzz=1")

    after = counts["GET /api/v1/tasks/{task_id}", "200"], counts["GET /api/v1/tasks", "422"]
    assert after == (before[0] + 2, before[1] + 1)


def test_report_counts_operations_and_statuses():
    report = Report()
    report.counts["POST /api/v1/tasks", "422"] += 2
    report.counts["POST /api/v1/tasks", "201"] += 1

    assert report.line().startswith("3 responses validated")
    assert f"of 1 of its {len(list_operations())} operations, with 2 of their" in report.line()
    assert report.line().endswith("201: 1, 422: 2")
