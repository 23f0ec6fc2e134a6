"""Query parameters that are read by a schema without ninja.

Some are read only if a request has a query string. An operation names their schema in its
openapi_extra, and reads them with read_query(). As an argument of its function, ninja would
validate them in every request: a twentieth of the time that reading one row takes.

Others are a query string as a value, such as that of a stored view: parse_query().
"""

from __future__ import annotations

from functools import cache
from typing import TypeVar

from django.http import HttpRequest, QueryDict
from pydantic import ValidationError

from taskflow.http.components import Schema, parameters_of_schema
from taskflow.http.filtering import takes_list
from taskflow.http.parsing import StrictParser, read_parameters
from taskflow.http.schema import In, is_boolean
from taskflow.http.validation import problem_of_request

P = TypeVar("P", bound=In)


def with_query(schema: type[In]) -> dict[str, list[Schema]]:
    """Return the openapi_extra that declares the parameters of the schema, each a single value."""
    return {"parameters": parameters_of_schema(schema)}


def read_query(request: HttpRequest, schema: type[P]) -> P:
    """Return the query parameters. Call it only if there is a query string.

    Raises Invalid for wrong values, and for a parameter that is sent more than once.
    """
    values = StrictParser().parse_querydict(request.GET, [], request)
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise problem_of_request([("query", error, schema)]) from None


def parse_query(text: str, schema: type[P]) -> P:
    """Return the parameters in a query string, as in `status=todo&tag=bug`.

    Raises Invalid for wrong values, for a parameter that the schema does not have, and for one that
    is sent more than once although it takes one value, and BadRequest for text that cannot be
    stored.
    """
    query = QueryDict(text)
    lists = [name for name, field in schema.model_fields.items() if takes_list(field.annotation)]
    values = read_parameters(query, lists, booleans_of(schema))
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise problem_of_request([("query", error, schema)]) from None


@cache
def booleans_of(schema: type[In]) -> frozenset[str]:
    """Return the names of the parameters that are true or false."""
    fields = schema.model_fields.items()
    return frozenset(name for name, field in fields if is_boolean(field.annotation))
