"""The component names and parameters of the OpenAPI document."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import pytest
from django.core.exceptions import ImproperlyConfigured
from ninja import Query, Router
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import Field

from taskflow.http.openapi import Api
from taskflow.http.schema import In, Out

pytestmark = pytest.mark.one_database


def colours(*values):
    """A class of its own with the same name at every call."""
    return StrEnum("Colour", {value.upper(): value for value in values})


def schema_with(kind, *, name="Row", base=Out, **config):
    return type(
        name, (base,), {"__annotations__": {"colour": kind}, "__module__": __name__, **config}
    )


def document_of(*operations):
    """The document of an API with these reads: path, function and response of each."""
    router = Router()
    for path, function, response in operations:
        router.get(path, response=response)(function)
    api = Api(title="x", urls_namespace=None)
    api.add_router("/x", router)
    return api.get_openapi_schema(path_prefix="/api/")


def list_rows_of_api(request):
    """Return nothing."""


def list_others(request):
    """Return nothing."""


@pytest.mark.parametrize("values", [("red", "blue"), ("red",)])
def test_two_enums_of_one_name_in_two_responses_are_refused(values):
    """Also when they have the same values now."""
    one, other = colours("red"), colours(*values)
    reads = [
        ("/one", list_rows_of_api, schema_with(one, name="One")),
        ("/other", list_others, schema_with(other, name="Other")),
    ]

    with pytest.raises(ImproperlyConfigured, match=r"“Colour” would stand for two classes"):
        document_of(*reads)


def test_two_enums_of_one_name_in_one_response_are_refused():
    inner = schema_with(colours("blue"), name="Inner")
    outer = type(
        "Outer",
        (Out,),
        {"__annotations__": {"colour": colours("red"), "inner": inner}, "__module__": __name__},
    )

    with pytest.raises(ImproperlyConfigured, match=r"“Colour” would stand for two classes"):
        document_of(("/one", list_rows_of_api, outer))


def test_two_schemas_of_one_name_are_refused():
    reads = [
        ("/one", list_rows_of_api, list[schema_with(str)]),
        ("/other", list_others, list[schema_with(int)]),
    ]

    with pytest.raises(ImproperlyConfigured, match=r"“Row” would stand for two classes"):
        document_of(*reads)


def test_schema_with_the_name_of_a_described_component_is_refused():
    reads = [("/one", list_rows_of_api, schema_with(str, name="Problem"))]

    with pytest.raises(ImproperlyConfigured, match=r"“Problem” would have two different schemas"):
        document_of(*reads)


def test_one_enum_in_two_responses_is_one_component():
    colour = colours("red")
    document = document_of(
        ("/one", list_rows_of_api, schema_with(colour, name="One")),
        ("/other", list_others, schema_with(colour, name="Other")),
    )

    schemas = document["components"]["schemas"]

    assert schemas["Colour"]["enum"] == ["red"]
    assert schemas["One"]["properties"] == schemas["Other"]["properties"]


class Filters(In):
    word: str | None = Field(None, examples=["a", "b"], description="A word.")
    words: list[Annotated[str, Field(examples=["c"])]] | None = Field(None, examples=[["d"]])
    colour: colours("red") | None = Field(None, examples=["red"])
    number: int = Field(3, examples=[4], deprecated=True)
    either: int | str | None = None


def list_rows(request, filters: Query[Filters]):
    """List rows."""


@pytest.fixture
def parameters():
    document = json.loads(json.dumps(document_of(("/rows", list_rows, schema_with(str)))))
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []
    (path,) = document["paths"].values()
    return {p["name"]: p for p in path["get"]["parameters"]}


def test_examples_of_parameters_are_in_their_schemas(parameters):
    assert all("examples" not in parameter for parameter in parameters.values())
    assert parameters["word"]["schema"]["examples"] == ["a", "b"]
    assert parameters["words"]["schema"]["examples"] == [["d"]]
    assert parameters["number"]["schema"]["examples"] == [4]


def test_parameters_are_never_null(parameters):
    assert parameters["word"]["schema"]["type"] == "string"
    assert parameters["words"]["schema"]["type"] == "array"
    assert parameters["colour"]["schema"]["$ref"] == "#/components/schemas/Colour"
    assert parameters["either"]["schema"]["anyOf"] == [{"type": "integer"}, {"type": "string"}]


def test_description_of_a_parameter_stands_once(parameters):
    assert parameters["word"]["description"] == "A word."
    assert "description" not in parameters["word"]["schema"]
