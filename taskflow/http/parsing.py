"""Parsing of JSON bodies and of query strings."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from typing import Any

from django.http import HttpRequest
from django.utils.datastructures import MultiValueDict
from ninja.parser import Parser
from pydantic import ValidationError, create_model

from taskflow.http.charsets import check_charset
from taskflow.http.converters import parse_boolean
from taskflow.http.errors import BadRequest, Invalid, UnsupportedMedia
from taskflow.http.json_filters import read_name, read_query
from taskflow.http.media_types import JSON
from taskflow.http.preconditions import REPEATED
from taskflow.http.request import Request
from taskflow.http.schema import STORED, In, is_unstorable
from taskflow.http.validation import KINDS, problem_of_validation

MAX_JSON_DEPTH = 16  # levels
MAX_INTEGER_DIGITS = len(str(-(2**63)))
MALFORMED = "malformed_json"
BYTE_ORDER_MARK = "\ufeff"
# How messages of Python's JSON parser begin, and what we say instead.
SYNTAX_ERRORS = {
    "Expecting value": "a value is missing",
    "Expecting property name": "a name in double quotes is missing",
    "Expecting ':'": "a colon is missing",
    "Expecting ','": "a comma is missing",
    "Extra data": "the JSON ends here, and more text follows",
    "Unterminated string": "this text has no double quote at its end",
    "Invalid control character": "this character must be escaped, as in \\n for a line break",
    "Invalid \\": "this backslash does not begin an escape; write two backslashes",
    "Unexpected UTF-8 BOM": "a byte order mark is not allowed here",
}
# A body without these bytes has no text with NUL or a lone surrogate, so that its texts need no
# check: an escape, the first byte of a surrogate, and NUL itself.
ESCAPE, SURROGATE, NUL = b"\\u", b"\xed", b"\0"


class StrictParser(Parser):
    """Reads bodies with parse_json(), and refuses query parameters that cannot be stored.

    Booleans of a query are `true` or `false`, and nothing else: the schemas take no text for one.
    """

    def parse_body(self, request: HttpRequest) -> dict[str, Any]:
        is_merge_patch = isinstance(request, Request) and request.merged_fields
        if request.content_type != JSON and not is_merge_patch:
            sent = f"not {request.content_type}" if request.content_type else "which is missing"
            raise UnsupportedMedia(
                f"Send a JSON body, with the header Content-Type: {JSON}, {sent}."
            )
        check_charset(request)
        try:
            body = parse_json(request.body)
        except ValueError as error:
            raise BadRequest(f"The body cannot be read. {error}", code=MALFORMED) from None
        if not isinstance(body, dict):
            raise BadRequest(
                f"The body must be a JSON object, not {KINDS[type(body)]}.", code=MALFORMED
            )
        if isinstance(request, Request):
            for name in request.moved_options:  # see body_options.py
                del body[name]
        return body

    def parse_querydict(
        self, data: MultiValueDict[str, Any], list_fields: list[str], request: HttpRequest
    ) -> dict[str, Any]:
        if not data:
            return {}
        booleans = request.boolean_parameters if isinstance(request, Request) else frozenset()
        return read_parameters(data, list_fields, booleans)


def read_parameters(
    data: MultiValueDict[str, str], list_fields: Collection[str], boolean_fields: Collection[str]
) -> dict[str, Any]:
    """Return the parameters of a query: a list for those in `list_fields`, booleans, and texts.

    Raises Invalid for a parameter that is sent more than once although it takes one value, and for
    a boolean that is not `true` or `false`, and BadRequest for text that cannot be stored.
    """
    json_names = {name for name in data if read_name(name)}
    parsed: dict[str, Any] = {}
    for name, values in data.lists():
        if any(is_unstorable(text) for text in (name, *values)):
            raise BadRequest(
                "The query string has characters that cannot be stored, such as NUL. Remove them."
            )
        if name in json_names:
            continue
        if len(values) > 1 and name not in list_fields:
            raise Invalid.parameter(name, REPEATED.format(name), "repeated")
        parsed[name] = values if name in list_fields else values[-1]
    for name in parsed.keys() & {*boolean_fields}:
        parsed[name] = parse_boolean(name, parsed[name])
    return parsed | _read_json_filters(data) if json_names else parsed


def _read_json_filters(data: MultiValueDict[str, str]) -> dict[str, object]:
    """Return the filters by values in JSON objects. Raises Invalid for too many of them."""
    try:
        return dict(read_query(data))
    except ValueError as error:
        name = next(parsed[0] for name in data if (parsed := read_name(name)))
        raise Invalid.parameter(name, f"“{name}” {error}.", "too_many") from None


def parse_json(text: str | bytes, *, max_depth: int = MAX_JSON_DEPTH) -> object:
    """Return the value of a JSON text that is unambiguous and can be stored.

    Raises ValueError, whose message is a sentence, for text that is not JSON (also NaN and
    Infinity), for an object with the same key twice, for NUL or a lone surrogate in a text or key,
    for a number outside 64 bits, and for more than `max_depth` levels.
    """
    try:
        value = _decode_json(_decode(text))
    except UnicodeDecodeError:
        raise ValueError("The text is not UTF-8. Encode it as UTF-8.") from None
    except RecursionError:
        raise ValueError(f"The JSON is nested deeper than {max_depth} levels.") from None
    except json.JSONDecodeError as error:
        raise ValueError(_describe_syntax(error)) from None
    _check_values(value, max_depth, checks_texts=_needs_text_check(text))
    return value


def _decode_json(text: str) -> object:
    """Return the value. Unlike json.loads() with hooks, this does not make a decoder each time."""
    if text[:1] == BYTE_ORDER_MARK:
        raise json.JSONDecodeError("Unexpected UTF-8 BOM", text, 0)
    return DECODER.decode(text)


def parse_metadata(text: str | bytes) -> object:
    """parse_json() for metadata, which is one level down in a body."""
    return parse_json(text, max_depth=MAX_JSON_DEPTH - 1)


def _describe_syntax(error: json.JSONDecodeError) -> str:
    """Return where a text stops being JSON, and why, as a sentence."""
    reason = next(
        (ours for theirs, ours in SYNTAX_ERRORS.items() if error.msg.startswith(theirs)),
        "this is not JSON",
    )
    return f"The JSON is wrong at line {error.lineno}, column {error.colno}: {reason}."


def _decode(text: str | bytes) -> str:
    """Return the text of a body in UTF-8. json.loads() would also detect UTF-16 and UTF-32."""
    return text if isinstance(text, str) else text.decode("utf-8-sig")


def _read_integer(digits: str) -> int | float:
    """Return the number. One with too many digits becomes a float, which _check_values() refuses.

    int() raises an error of its own for more than 4,300 digits.
    """
    return int(digits) if len(digits) <= MAX_INTEGER_DIGITS else float(digits)


def _refuse_duplicate_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _value in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"An object has the name “{repeated}” twice. Send it once.")
    return values


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON number. Send null or a text instead.")


DECODER = json.JSONDecoder(
    object_pairs_hook=_refuse_duplicate_keys,
    parse_constant=_refuse_constant,
    parse_int=_read_integer,
)


def _needs_text_check(text: str | bytes) -> bool:
    if isinstance(text, str):
        return "\\u" in text or is_unstorable(text)
    return ESCAPE in text or SURROGATE in text or NUL in text


def check_depth(document: object, max_depth: int) -> None:
    """Raise ValueError for a JSON value that is nested deeper than `max_depth` levels."""
    _check_values(document, max_depth, checks_texts=False)


def _check_values(document: object, max_depth: int, *, checks_texts: bool) -> None:
    level: list[list[object] | dict[str, object]] = [[document]]
    for _ in range(max_depth + 1):  # the list around the document is the first level
        below: list[list[object] | dict[str, object]] = []
        for container in level:
            values: Iterable[object] = container
            if isinstance(container, dict):
                values = [*container, *container.values()] if checks_texts else container.values()
            for value in values:
                if type(value) is str:
                    if checks_texts and is_unstorable(value):
                        raise ValueError("A text contains NUL or a lone surrogate. Remove it.")
                elif isinstance(value, dict | list):
                    below.append(value)
                elif isinstance(value, int | float) and not -(2**63) <= value < 2**63:
                    # 1e999 is infinity
                    raise ValueError("A number does not fit 64 bits. Send it as a text.")
        level = below
        if not level:
            return
    raise ValueError(f"The JSON is nested deeper than {max_depth} levels.")


@cache
def _schema_of_fields(schema: type[In], names: frozenset[str]) -> type[In]:
    """Return a schema with these fields only, so that they are validated without the others."""
    fields: dict[str, Any] = {
        name: (schema.model_fields[name].annotation, schema.model_fields[name]) for name in names
    }
    return create_model(schema.__name__, __base__=In, **fields)


def check_values(
    schema: type[In], values: Mapping[str, object], *, are_stored: bool = False
) -> dict[str, Any]:
    """Validate single values with the types of a schema's fields, and return the results.

    For channels without a JSON body, such as forms and CSV. Dates are given as text. Names that the
    schema does not have are left out. Raises Invalid, with a pointer for each value that a body
    could not have. With `are_stored`, a title or name of several lines is accepted, as rows from
    before that rule have one.
    """
    checked = {name: value for name, value in values.items() if name in schema.model_fields}
    try:
        model = _schema_of_fields(schema, frozenset(checked))
        return model.model_validate(checked, context=STORED if are_stored else None).sent_fields()
    except ValidationError as error:
        raise problem_of_validation(error, schema) from None
