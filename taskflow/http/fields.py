"""The parameter `fields`: a response with only some fields of each row."""

from __future__ import annotations

from typing import Annotated

from pydantic import MISSING, BaseModel, Field

from taskflow.http.paging import PageParams, check_names
from taskflow.http.schema import In

# Client generators make a union of two schemas of one media type, in which every field is optional.
PARTIAL_MEDIA_TYPE = "application/vnd.taskflow.partial+json"
MAX_PARTIAL_VARIANTS = 100  # compiled queries with different fields that one list or row keeps
FieldNames = Annotated[
    str,
    Field(
        min_length=1,
        max_length=500,
        description="Names of fields, separated by commas, as in `id,key,title`. Each row has only"
        f" these fields, and the response is {PARTIAL_MEDIA_TYPE}.",
    ),
]


class RowParams(In):
    """The query parameters of one row."""

    fields: FieldNames | None = None


class RowListParams(PageParams):
    """The query parameters of a list whose rows can have some fields only."""

    fields: FieldNames | None = None


def read_fields(text: str | None, schema: type[BaseModel]) -> tuple[str, ...] | None:
    """Turn `title,id` into names of fields, in the order of the schema; None without a text.

    One order for all requests keeps the number of different queries small. Raises Invalid for a
    name that is no field, and for one that is given twice.
    """
    if text is None:
        return None
    known = [name for name, field in schema.model_fields.items() if field.default is not MISSING]

    def refuse(name: str) -> str:
        return f"There is no field “{name}”. The fields are {', '.join(known)}."

    names = text.split(",")
    check_names("fields", names, known, refuse)
    return tuple(name for name in known if name in names)
