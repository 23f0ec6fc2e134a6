"""The parameters `fields` and `format` in the OpenAPI document: the forms of shorter responses."""

from __future__ import annotations

from copy import deepcopy

from taskflow.http.components import COMPONENT_REF, OpenApiDocument, Schema
from taskflow.http.fields import PARTIAL_MEDIA_TYPE, TEXT_MEDIA_TYPE


def describe_partial_rows(document: OpenApiDocument) -> None:
    """Describe the responses with some fields only, and those with a line for each row, at every
    read that has the parameters.
    """
    for methods in document["paths"].values():
        read = methods.get("get", {})
        names = {parameter["name"] for parameter in read.get("parameters", ())}
        if "fields" in names:
            content = read["responses"][200]["content"]
            reference = content["application/json"]["schema"]["$ref"]
            content[PARTIAL_MEDIA_TYPE] = {"schema": _partial_ref(document, reference)}
        if "format" in names:
            read["responses"][200]["content"][TEXT_MEDIA_TYPE] = {"schema": {"type": "string"}}


def _partial_ref(document: OpenApiDocument, reference: str) -> Schema:
    """Return the reference to the partial form of a row or of a list, which is added."""
    name = reference.rpartition("/")[2]
    schema = deepcopy(document.schemas[name])
    partial = schema["title"] = f"Partial{name.removesuffix('Response')}"
    rows = schema["properties"].get("data", {}).get("items")
    if rows is None:
        schema["description"] = "Some of the fields, which the parameter `fields` names."
        del schema["required"]
    else:
        schema["properties"]["data"]["items"] = _partial_ref(document, rows["$ref"])
    document.add_schema_definitions({partial: schema})
    return {"$ref": COMPONENT_REF.format(model=partial)}
