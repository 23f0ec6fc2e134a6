"""The media types of request bodies, and which of them an operation accepts."""

from __future__ import annotations

from typing import get_args

from ninja.operation import Operation

from taskflow.http.schema import In

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"  # RFC 7396


def merged_fields_of(operation: Operation) -> frozenset[str]:
    """Return the fields of the body that a merge patch merges into the stored value.

    Empty for an operation that does not accept merge patches.
    """
    if "PATCH" not in operation.methods:
        return frozenset()
    classes = [
        schema
        for model in operation.models
        if model.__ninja_param_source__ == "body"
        for field in model.model_fields.values()
        for schema in (field.annotation, *get_args(field.annotation))
        if isinstance(schema, type) and issubclass(schema, In)
    ]
    return frozenset().union(*(schema.merged_fields for schema in classes))


def patch_types_of(operation: Operation) -> str | None:
    """Return the value of Accept-Patch (RFC 5789), or None for an operation without PATCH."""
    if "PATCH" not in operation.methods:
        return None
    return f"{JSON}, {MERGE_PATCH}" if merged_fields_of(operation) else JSON
