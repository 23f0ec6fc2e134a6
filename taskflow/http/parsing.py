"""Parsing of JSON bodies, and problems for values that pydantic refuses."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from django.http import HttpRequest
from django.utils.datastructures import MultiValueDict
from ninja.parser import Parser
from pydantic import ValidationError, create_model

from taskflow.http.charsets import check_charset
from taskflow.http.errors import BadRequest, Invalid, Problem, UnsupportedMedia
from taskflow.http.schema import STORED, In, is_unstorable

MAX_JSON_DEPTH = 16  # levels
MAX_INTEGER_DIGITS = len(str(-(2**63)))
MALFORMED = "malformed_json"
# A body without these bytes has no text with NUL or a lone surrogate, so that its texts need no
# check: an escape, the first byte of a surrogate, and NUL itself.
SUSPICIOUS_BYTES = (b"\\u", b"\xed", b"\0")


class StrictParser(Parser):
    """Reads bodies with parse_json(), and refuses query parameters that cannot be stored."""

    def parse_body(self, request: HttpRequest) -> dict[str, Any]:
        if request.content_type != "application/json":
            raise UnsupportedMedia("Send the body as Content-Type: application/json.")
        check_charset(request)
        try:
            body = parse_json(request.body)
        except ValueError as error:
            raise BadRequest(f"The body cannot be parsed: {error}", code=MALFORMED) from None
        if not isinstance(body, dict):
            raise BadRequest("The body must be a JSON object.", code=MALFORMED)
        return body

    def parse_querydict(
        self, data: MultiValueDict[str, Any], list_fields: list[str], request: HttpRequest
    ) -> dict[str, Any]:
        for name, values in data.lists():
            if any(is_unstorable(text) for text in (name, *values)):
                raise BadRequest(
                    "The query string has characters that cannot be stored, such as NUL."
                )
            if len(values) > 1 and name not in list_fields:
                raise Invalid.parameter(name, f"“{name}” can be given only once.", "repeated")
        return super().parse_querydict(data, list_fields, request)


def parse_json(text: str | bytes, *, max_depth: int = MAX_JSON_DEPTH) -> object:
    """Return the value of a JSON text that is unambiguous and can be stored.

    Raises ValueError, whose message is a sentence, for text that is not JSON (also NaN and
    Infinity), for an object with the same key twice, for NUL or a lone surrogate in a text or key,
    for a number outside 64 bits, and for more than `max_depth` levels.
    """
    try:
        value = json.loads(
            _decode(text),
            object_pairs_hook=_refuse_duplicate_keys,
            parse_constant=_refuse_constant,
            parse_int=_read_integer,
        )
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8.") from None
    except RecursionError:
        raise ValueError("the JSON is nested too deeply.") from None
    except ValueError as error:
        raise ValueError(f"it is not valid JSON: {error}.") from None
    _check_values(value, max_depth, checks_texts=_needs_text_check(text))
    return value


def parse_metadata(text: str | bytes) -> object:
    """parse_json() for metadata, which is one level down in a body."""
    return parse_json(text, max_depth=MAX_JSON_DEPTH - 1)


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
        raise ValueError("an object has the same key twice")
    return values


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON number")


def _needs_text_check(text: str | bytes) -> bool:
    if isinstance(text, str):
        return "\\u" in text or is_unstorable(text)
    return any(mark in text for mark in SUSPICIOUS_BYTES)


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
                if isinstance(value, str):
                    if checks_texts and is_unstorable(value):
                        raise ValueError("a text contains NUL or a lone surrogate.")
                elif isinstance(value, dict | list):
                    below.append(value)
                elif isinstance(value, int | float) and not -(2**63) <= value < 2**63:
                    # 1e999 is infinity
                    raise ValueError("a number does not fit 64 bits.")
        level = below
        if not level:
            return
    raise ValueError(f"the JSON is nested deeper than {max_depth} levels.")


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
        errors = [{**e, "loc": ("body", "body", *e["loc"])} for e in error.errors()]
        raise problem_of_validation(errors) from None


def problem_of_validation(
    errors: Sequence[Mapping[str, Any]], query_parameters: Collection[str] = ()
) -> Problem:
    """Return one problem for all errors that pydantic has reported.

    If an unknown field of the body is one of `query_parameters`, its detail says to send it there.
    """
    entries: list[dict[str, str]] = []
    for error in errors:
        position = _position(error.get("loc", ()))
        detail = _detail_of_misplaced(error, query_parameters) or _detail(error["msg"])
        entry = {**position, "code": error["type"], "detail": detail}
        if entry not in entries:  # each member of a union reports the same error
            entries.append(entry)
    first = entries[0]
    where = first.get("parameter") or first.get("pointer", "#")
    return Invalid(f"{where}: {first['detail']}", code="validation_failed", errors=entries)


def _position(loc: tuple[object, ...]) -> dict[str, str]:
    """Return the pointer into the body, or the parameter, that an error of pydantic is about."""
    source, *rest = loc or ("body",)
    if source == "body":
        return {"pointer": "/".join(["#", *(str(part) for part in rest[1:])])}
    # After the name come indexes of lists and members of unions, which a client cannot interpret.
    return {"parameter": str(rest[min(1, len(rest) - 1)]) if rest else str(source)}


def _detail_of_misplaced(error: Mapping[str, Any], query_parameters: Collection[str]) -> str | None:
    """Return what to do about a query parameter that was sent in the body, else None."""
    *_path, name = error.get("loc") or ("",)
    if error["type"] != "extra_forbidden" or name not in query_parameters:
        return None
    return f"“{name}” is a query parameter, not a field of the body: send ?{name}=true"


def _detail(message: str) -> str:
    return message.removeprefix("Value error, ")
