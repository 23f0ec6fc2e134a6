"""Shorter responses: with some fields of each row (`fields`), or one line for each (`format`)."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import MISSING, BaseModel, Field, model_validator

from taskflow.http.paging import PageParams, check_names
from taskflow.http.schema import In

# Client generators make a union of two schemas of one media type, in which every field is optional.
PARTIAL_MEDIA_TYPE = "application/vnd.taskflow.partial+json"
TEXT_MEDIA_TYPE = "text/plain"  # of a list with one line for each row
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
    """The query parameters of a list whose rows can be shorter."""

    fields: FieldNames | None = None
    format: Literal["text"] | None = Field(
        None,
        description="`text`: plain text with one line for each row, for people and language models."
        " Long titles and texts are cut. Not together with `fields`.",
    )

    @model_validator(mode="after")
    def _check_format(self) -> Self:
        if self.format is not None and self.fields is not None:
            raise ValueError("Send either `fields` or `format`. A line has fields of its own.")
        return self


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
