"""The two kinds of schema (what comes in is strict, what goes out complete) and shared types."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Annotated, Any

from ninja import Schema
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    EmailStr,
    Field,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    WithJsonSchema,
)

FIRST_YEAR, LAST_YEAR = 1970, 2199  # PostgreSQL stores more than Python can read back
DAY_FORM = r"\d{4}-\d\d-\d\d"
MAX_ID = 2**63 - 1
MAX_TEXT_LENGTH = 65_536  # characters
MAX_METADATA_BYTES = 32_768  # bytes as JSON


class In(BaseModel):
    """A request body or a set of filters. A name we do not know is an error, never dropped."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    def sent(self) -> dict[str, Any]:
        """What the caller sent, absent fields left out; null is a value."""
        names = [name for name in type(self).model_fields if name in self.model_fields_set]
        return {name: getattr(self, name) for name in names}


class Out(Schema):
    """A response. Every field is always present."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


def is_unstorable(text: str) -> bool:
    """NUL ends a text in PostgreSQL; a lone surrogate has no UTF-8."""
    return "\0" in text or any("\ud800" <= c <= "\udfff" for c in text)


def _in_range(value: date) -> date:
    if not FIRST_YEAR <= value.year <= LAST_YEAR:
        raise ValueError(f"must be in the years {FIRST_YEAR} to {LAST_YEAR}")
    return value


def check_timestamp(value: datetime) -> datetime:
    """Return it in UTC. Raises ValueError for one that we would not store."""
    _in_range(value)
    return _in_range(value.astimezone(UTC))  # type: ignore[return-value]  # a datetime is a date


def _written_as(form: str, example: str) -> Callable[[Any], Any]:
    """Pydantic would take 2020, and "2020", for so many seconds after 1970."""

    def check(value: Any) -> Any:
        if not isinstance(value, str) or not re.fullmatch(form, value, re.IGNORECASE):
            raise ValueError(f"must be a string such as {example}")
        return value

    return check


def _small(value: dict[str, Any]) -> dict[str, Any]:
    if len(json.dumps(value)) > MAX_METADATA_BYTES:
        raise ValueError(f"must be at most {MAX_METADATA_BYTES} bytes as JSON")
    return value


Id = Annotated[int, Field(strict=True, ge=1, le=MAX_ID)]
# A row in an address: by its id or, as in WEB-12, by its key.
IdOrKey = Annotated[str, WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string"}]})]
LongText = Annotated[str, Field(max_length=MAX_TEXT_LENGTH)]
# Markdown, whose white space says something.
Markdown = Annotated[
    str, StringConstraints(strip_whitespace=False), Field(max_length=MAX_TEXT_LENGTH)
]
Email = Annotated[EmailStr, Field(max_length=255), AfterValidator(str.lower)]
Timestamp = Annotated[
    AwareDatetime,
    BeforeValidator(_written_as(r"\d{4}-\d\d-\d\dT.+", "2026-01-31T09:00:00Z")),
    AfterValidator(check_timestamp),
    Field(
        description="RFC 3339 with an offset; answered in UTC.", examples=["2026-12-01T09:00:00Z"]
    ),
]
Day = Annotated[
    date,
    BeforeValidator(_written_as(DAY_FORM, "2026-01-31")),
    AfterValidator(_in_range),
    Field(description="A calendar day, the same in every time zone.", examples=["2026-12-01"]),
]
_INSTANT, _DAY = TypeAdapter(Timestamp), TypeAdapter(Day)


def _read_moment(value: Any) -> datetime | date:
    """One error for both types. Those of a union would have its members in their location."""
    is_day = isinstance(value, str) and re.fullmatch(DAY_FORM, value)
    try:
        return _DAY.validate_python(value) if is_day else _INSTANT.validate_python(value)
    except ValidationError as error:
        message = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        raise ValueError(f"{message}, or a day as in 2026-01-31") from None


DayOrTimestamp = Annotated[
    datetime | date,
    BeforeValidator(_read_moment),
    Field(description="A day or an instant."),
]
FilterWord = Annotated[str, Field(min_length=1, max_length=60)]  # of a filter
SearchWords = Annotated[
    str,
    Field(
        min_length=1,
        max_length=500,
        description="Words that all must occur, the last one at least begin; those “in quotes”"
        " follow each other. Punctuation is looked for as well. WEB-12 finds that task.",
        examples=['sign-up "load cell"'],
    ),
]
ExcludedWords = Annotated[
    str, Field(min_length=1, max_length=500, description="Words none of which may occur.")
]
Metadata = Annotated[dict[str, Any], AfterValidator(_small)]
Version = Annotated[int, Field(description="Grows by one with every change; the ETag names it.")]
