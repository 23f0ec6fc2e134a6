"""The base classes of schemas and the types that they share. Input is strict, output complete."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, ClassVar, NamedTuple, get_args, get_origin
from urllib.parse import urlsplit

from django.utils.translation import gettext, gettext_noop
from ninja import Schema
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    EmailStr,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    JsonValue,
    PlainValidator,
    StrictInt,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    WrapValidator,
)
from pydantic_core.core_schema import CoreSchema, no_info_after_validator_function

from taskflow.db.text import is_one_line, is_visible
from taskflow.db.types import MAX_ID
from taskflow.http.validation import show_value
from taskflow.http.value_errors import FormatError

FIRST_YEAR, LAST_YEAR = 1970, 2199  # PostgreSQL stores years that Python cannot read
DAY_FORM = "a day, as in 2026-01-31"
TIMESTAMP_FORM = "a time with an offset, as in 2026-01-31T09:00:00Z"
DAY_PATTERN = r"\d{4}-\d\d-\d\d"
NUMBER = re.compile(r"-?[0-9]{1,30}")
MAX_TEXT_LENGTH = 65_536  # characters
MAX_METADATA_BYTES = 32_768  # as JSON


class In(BaseModel):
    """A request body or a set of filters. Unknown names are refused, never ignored."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)
    # What to do in place of sending a field that is not here, by its name.
    hints: ClassVar[Mapping[str, str]] = {}

    # The fields that a merge patch (RFC 7396) merges into the stored value. With any, PATCH
    # accepts merge patches.
    merged_fields: ClassVar[frozenset[str]] = frozenset()

    def sent_fields(self) -> dict[str, Any]:
        """Return the fields that the client sent, by name. A field that is null was sent."""
        given = self.model_fields_set
        return {name: value for name, value in vars(self).items() if name in given}


def empty(make: type[list[Any]] | type[dict[str, Any]]) -> Any:
    """Return the default of a field that is an empty list or object.

    Pydantic would copy a default such as [] in Python each time, which takes ten calls.
    """
    return Field(default_factory=make, json_schema_extra={"default": make()})


def example(**body: JsonValue) -> ConfigDict:
    """Return the configuration of a body that shows this whole body as the example of a request.

    It has to succeed on the demo: taskflow/tests/test_examples.py sends it.
    """
    return ConfigDict(json_schema_extra={"examples": [body]})


class Out(Schema):
    """A response. All fields are always present."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


def is_unstorable(text: str) -> bool:
    """Return whether a text has NUL, which PostgreSQL refuses, or a surrogate: not UTF-8."""
    return not text.isprintable() and any(c == "\0" or "\ud800" <= c <= "\udfff" for c in text)


def _read_number(value: object) -> object:
    """Return the number of a parameter's digits. Pydantic would also read 1_0, +1 and 1.0."""
    if isinstance(value, str):
        if not NUMBER.fullmatch(value):
            raise FormatError(f"must be a whole number, not {show_value(value)}")
        return int(value)
    return value


def is_boolean(annotation: object) -> bool:
    """Return whether the type of a field has true and false as its values."""
    if get_origin(annotation) is Annotated:
        return is_boolean(get_args(annotation)[0])
    return annotation is bool or any(map(is_boolean, get_args(annotation)))


def _check_year(value: date) -> date:
    if not FIRST_YEAR <= value.year <= LAST_YEAR:
        message = gettext("must be in the years %(first)d to %(last)d")
        raise ValueError(message % {"first": FIRST_YEAR, "last": LAST_YEAR})
    return value


def check_timestamp(value: datetime) -> datetime:
    """Return the timestamp in UTC. Raises ValueError for a year that cannot be stored."""
    _check_year(value)
    return _check_year(value.astimezone(UTC))  # type: ignore[return-value]  # a datetime is a date


def _check_format(pattern: str, form: str) -> Callable[[object], str]:
    """Return a validator of the text form. Pydantic would read 2020 as seconds since 1970."""

    def check(value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value, re.IGNORECASE):
            raise FormatError(f"must be {form}, not {show_value(value)}")
        return value

    return check


class Matches:
    """Metadata of a text that must match `pattern` as a whole.

    `rule` is for people: it completes “The text must …”, and is marked for translation. The JSON
    schema has the pattern.
    """

    def __init__(self, pattern: re.Pattern[str], rule: str) -> None:
        self.pattern, self.rule = pattern, rule

    def check(self, text: str) -> str:
        if not self.pattern.fullmatch(text):
            message = gettext("must %(rule)s, not %(value)s")
            raise FormatError(message % {"rule": gettext(self.rule), "value": show_value(text)})
        return text

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return handler(schema) | {"pattern": f"^{self.pattern.pattern}$"}


# One host, an optional port, and a path; no user name, no white space and no delimiters of HTML.
WEB_URL = re.compile(
    r"[Hh][Tt][Tt][Pp][Ss]?://(\[[0-9A-Fa-f:.]+\]|[^\s/?#@:\[\]\"<>\\^`{|}]+)(:[0-9]{1,5})?"
    r"([/?#][^\s\"<>\\^`{|}]*)?"
)


def is_web_url(url: str) -> bool:
    """Return whether a text is a URL with http or https that is safe to show as a link."""
    if not WEB_URL.fullmatch(url) or any(unicodedata.category(c)[0] in "CZ" for c in url):
        return False
    try:
        return (urlsplit(url).port or 0) >= 0
    except ValueError:  # a port above 65535, or a host that is normalized to several parts
        return False


def _check_web_url(url: str) -> str:
    if not is_web_url(url):
        raise FormatError(
            gettext(
                "must be a URL that begins with http:// or https://, without user name and white"
                " space, not %(value)s"
            )
            % {"value": show_value(url)}
        )
    return url


def _check_email(value: object, validate: Callable[[object], str]) -> str:
    """Replace the sentences of the library that reads e-mail addresses."""
    try:
        return validate(value)
    except ValidationError as error:
        if isinstance(value, str) and error.errors()[0]["type"] == "value_error":
            raise FormatError(
                gettext("must be an e-mail address, as in ada@example.com, not %(value)s")
                % {"value": show_value(value)}
            ) from None
        raise


def check_metadata_size(value: dict[str, object]) -> dict[str, object]:
    """Return the object. Raises ValueError if it is larger than MAX_METADATA_BYTES."""
    size = len(json.dumps(value))
    if size > MAX_METADATA_BYTES:
        raise ValueError(
            gettext("can have at most %(limit)d bytes as JSON; it has %(size)d. Store less")
            % {"limit": MAX_METADATA_BYTES, "size": size}
        )
    return value


STORED = {"is_stored": True}  # the validation context of values that a database has stored


def _check_line(text: str, info: ValidationInfo) -> str:
    """Return the text. Raises ValueError unless it is one visible line, or empty, or STORED.

    Rows from before this rule may be imported with their texts.
    """
    if not text or info.context == STORED:
        return text
    if not is_one_line(text):
        raise ValueError(
            gettext_noop("must be one line, without line breaks, tabs and control characters")
        )
    if not is_visible(text):
        raise ValueError(gettext_noop("must contain a character that can be seen"))
    return text


# Of query parameters, which are texts. Fields of bodies are StrictInt.
WholeNumber = Annotated[StrictInt, BeforeValidator(_read_number)]
Id = Annotated[int, Field(strict=True, ge=1, le=MAX_ID)]
# In a URL the digits, in a body the number.
IdInQuery = Annotated[Id, BeforeValidator(_read_number)]
# A row in a path: its id, or its key such as WEB-12.
ProjectIdOrKey = Annotated[
    str,
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "description": "The project, by id or key.",
            "examples": ["WEB"],
        }
    ),
]
TaskIdOrKey = Annotated[
    str,
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "description": "The task, by id or key. A key from before a move finds it too.",
            "examples": ["WEB-1"],
        }
    ),
]
UserIdOrHandle = Annotated[
    str,
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "description": "The user: `me`, an id or `@handle`.",
            "examples": ["@ada"],
        }
    ),
]
WebUrl = Annotated[
    str,
    Field(
        max_length=2048,
        description="A URL that begins with http:// or https://.",
        examples=["https://example.com/design"],
        json_schema_extra={"pattern": f"^{WEB_URL.pattern}$"},
    ),
    AfterValidator(_check_web_url),
]
OneLine = AfterValidator(_check_line)  # for titles and names
# White space at the start of a line has a meaning in Markdown. At the end of a text it has none.
LongText = Annotated[
    str,
    StringConstraints(strip_whitespace=False),
    Field(max_length=MAX_TEXT_LENGTH),
    AfterValidator(str.rstrip),
]
Markdown = Annotated[
    str, StringConstraints(strip_whitespace=False), Field(max_length=MAX_TEXT_LENGTH)
]
Email = Annotated[
    EmailStr, WrapValidator(_check_email), Field(max_length=255), AfterValidator(str.lower)
]
Timestamp = Annotated[
    AwareDatetime,
    BeforeValidator(_check_format(r"\d{4}-\d\d-\d\dT.+", TIMESTAMP_FORM)),
    AfterValidator(check_timestamp),
    Field(
        description="RFC 3339 with an offset. Responses have UTC.",
        examples=["2026-12-01T09:00:00Z"],
    ),
]
Day = Annotated[
    date,
    BeforeValidator(_check_format(DAY_PATTERN, DAY_FORM)),
    AfterValidator(_check_year),
    Field(description="A calendar day, the same in every time zone.", examples=["2026-12-01"]),
]
_TIMESTAMP, _DAY = TypeAdapter(Timestamp), TypeAdapter(Day)


class RelativeDay(NamedTuple):
    """A day that is counted from the day on which a request is answered."""

    days: int  # from today: 0 today, -1 yesterday

    def after(self, today: date) -> date:
        return today + timedelta(days=self.days)

    def __str__(self) -> str:
        """Return the text that it is written as, such as `today` or `7d`."""
        names = {days: name for name, days in NAMED_DAYS.items()}
        return names.get(self.days, f"{self.days}d")


NAMED_DAYS = {"yesterday": -1, "today": 0, "tomorrow": 1}
RELATIVE_DAY_PATTERN = rf"{'|'.join(NAMED_DAYS)}|-?[0-9]{{1,4}}d"


def _read_day_or_timestamp(value: object) -> datetime | date | RelativeDay:
    """Parse the value. Raises one error, where a union would raise one for each of its types."""
    text = value if isinstance(value, str) else ""
    if re.fullmatch(RELATIVE_DAY_PATTERN, text):
        return RelativeDay(NAMED_DAYS[text] if text in NAMED_DAYS else int(text[:-1]))
    is_day = re.fullmatch(DAY_PATTERN, text)
    try:
        return _DAY.validate_python(value) if is_day else _TIMESTAMP.validate_python(value)
    except ValidationError:
        raise FormatError(
            f"must be {DAY_FORM}, or {TIMESTAMP_FORM}, in the years {FIRST_YEAR} to {LAST_YEAR},"
            f" or one of {', '.join(NAMED_DAYS)}, 7d and -7d, not {show_value(value)}"
        ) from None


DayOrTimestamp = Annotated[
    datetime | date | RelativeDay,
    PlainValidator(_read_day_or_timestamp),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "format": "date-time"},
                {"type": "string", "format": "date"},
                {"type": "string", "pattern": f"^({RELATIVE_DAY_PATTERN})$"},
            ],
            "description": "A day in the tenant's time zone, or a timestamp. `today`, `yesterday`,"
            " `tomorrow`, `7d` (in 7 days) and `-7d` (7 days ago) are days that are counted from"
            " the day of the request.",
            "examples": ["2026-12-01", "2026-12-01T09:00:00Z", "7d"],
        }
    ),
]
FilterWord = Annotated[str, Field(min_length=1, max_length=60)]  # an id, a key, a handle, a name
SearchWords = Annotated[
    str,
    Field(
        min_length=1,
        max_length=500,
        description="Words that must all occur. The last one may be the beginning of a word. Words"
        " “in quotes” must follow each other. Case and accents do not count. Punctuation must match"
        " too. WEB-12 finds that task.",
        examples=['sign-up "load cell"'],
    ),
]
ExcludedWords = Annotated[
    str, Field(min_length=1, max_length=500, description="Words that must not occur.")
]
Metadata = Annotated[
    dict[str, Any],
    AfterValidator(check_metadata_size),
    Field(
        description=f"A JSON object of your own, at most {MAX_METADATA_BYTES} bytes. It replaces"
        " the stored one.",
        examples=[{"sprint": 12}],
    ),
]
# Fields of responses.
RowId = Annotated[int, Field(description="The id. It never changes.", examples=[12])]
CreatedAt = Annotated[datetime, Field(description="When it was created, in UTC.")]
UpdatedAt = Annotated[datetime, Field(description="When it was last changed, in UTC.")]
StoredMetadata = Annotated[
    dict[str, object], Field(description="A JSON object that clients have stored.")
]
Version = Annotated[
    int, Field(description="Increases by one with every change. It is part of the ETag.")
]
