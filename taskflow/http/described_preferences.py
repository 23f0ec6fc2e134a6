"""The header Prefer in the OpenAPI document: which operations follow it, and what they answer."""

from __future__ import annotations

from collections.abc import Collection

from taskflow.http.components import OpenApiDocument, Schema
from taskflow.http.described_parts import describe_parameter, optional_header
from taskflow.http.preferences import MINIMAL_MEDIA_TYPE

MINIMAL_ROW: Schema = {
    "type": "object",
    "title": "MinimalRow",
    "description": "A new object, for a client that prefers `return=minimal`.",
    "required": ["id", "key", "version"],
    "properties": {
        "id": {"type": "integer", "description": "The id. It never changes."},
        "key": {
            "type": ["string", "null"],
            "description": "The key of a project or task; null for other objects.",
        },
        "version": {"type": "integer", "description": "The version, which the ETag contains."},
    },
}


def prefer_parameter(description: str) -> Schema:
    """Describe the header Prefer of an operation."""
    return describe_parameter("header", "Prefer", description, type="string")


PREFER_MINIMAL = prefer_parameter(
    "`return=minimal`: the answer does not contain the object. A new one is answered with its id,"
    f" key and version as {MINIMAL_MEDIA_TYPE}, a change with 204. Both have an ETag for If-Match."
)
PREFER_REPRESENTATION = prefer_parameter(
    "`return=representation`: 200 with what else was changed, in place of 204."
)


def describe_preferences(document: OpenApiDocument, minimal_rows: Collection[str]) -> None:
    """Describe Prefer at the writes that follow it.

    `minimal_rows` are the components of rows that a client need not get. A write that can answer
    both 200 and 204 has a representation that the client can prefer.
    """
    document.add_schema_definitions({"MinimalRow": MINIMAL_ROW})
    for methods in document["paths"].values():
        for operation in methods.values():
            parameters, responses = operation.setdefault("parameters", []), operation["responses"]
            if not any(parameter["name"] == "Prefer" for parameter in parameters):
                if responses.keys() >= {200, 204}:
                    parameters.append(PREFER_REPRESENTATION)
                elif operation is not methods.get("get") and _rows_of(operation) & {*minimal_rows}:
                    parameters.append(PREFER_MINIMAL)
                    _describe_minimal_responses(responses)
                else:
                    continue
            for status, response in responses.items():
                if status < 300:
                    applied = optional_header("Preference-Applied")
                    response["headers"] = response.get("headers", {}) | applied


def _rows_of(operation: Schema) -> set[str]:
    """Return the components that the successful responses of an operation refer to."""
    contents = [r.get("content", {}) for s, r in operation["responses"].items() if s < 300]
    references = [c["application/json"]["schema"] for c in contents if "application/json" in c]
    return {reference.get("$ref", "").rpartition("/")[2] for reference in references}


def _describe_minimal_responses(responses: dict[int, Schema]) -> None:
    reference = {"$ref": "#/components/schemas/MinimalRow"}
    if 201 in responses:
        responses[201]["content"][MINIMAL_MEDIA_TYPE] = {"schema": reference}
    if 200 in responses:
        responses[204] = {
            "description": "Changed as requested, with `Prefer: return=minimal`.",
            "headers": optional_header("ETag"),
        }
