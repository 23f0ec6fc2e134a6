"""From the wire to values: JSON that means one thing, and what pydantic found in it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any

from django.http import HttpRequest
from ninja.parser import Parser
from pydantic import ValidationError, create_model

from taskflow.http.charsets import check_charset
from taskflow.http.errors import BadRequest, Invalid, Problem, UnsupportedMedia
from taskflow.http.schema import In, is_unstorable

MAX_JSON_DEPTH = 16
MAX_INTEGER_DIGITS = len(str(-(2**63)))
MALFORMED = "malformed_json"
# Without these bytes no text of a body can hold NUL or half a character: an escape, a surrogate
# in UTF-8, what is not UTF-8.
ODD = (b"\\u", b"\xed", b"\0")


class StrictParser(Parser):
    """Reads bodies with parse_json(), and refuses query texts that cannot be stored."""

    def parse_body(self, request: HttpRequest) -> dict[str, Any]:
        if request.content_type != "application/json":
            raise UnsupportedMedia("Send the body as Content-Type: application/json.")
        check_charset(request)
        try:
            body = parse_json(request.body)
        except ValueError as error:
            raise BadRequest(f"The body cannot be read: {error}", code=MALFORMED) from None
        if not isinstance(body, dict):
            raise BadRequest("The body must be a JSON object.", code=MALFORMED)
        return body

    def parse_querydict(self, data: Any, list_fields: list[str], request: HttpRequest) -> Any:
        for name, values in data.lists():
            if any(is_unstorable(text) for text in (name, *values)):
                raise BadRequest("The query contains characters that cannot be stored.")
            if len(values) > 1 and name not in list_fields:
                raise Invalid.parameter(name, f"“{name}” may be given once.", "repeated")
        return super().parse_querydict(data, list_fields, request)


def parse_json(text: str | bytes, *, deepest: int = MAX_JSON_DEPTH) -> Any:
    """Return the value of a JSON text that means one thing and can be stored and read back.

    Raises ValueError, whose text is a sentence, for what is not JSON (NaN and Infinity included),
    an object that names a key twice, NUL or half a character in a text or a key, a number outside
    64 bits, and nesting deeper than `deepest` levels.
    """
    try:
        value = json.loads(
            _decode(text),
            object_pairs_hook=_refuse_duplicate_keys,
            parse_constant=_refuse,
            parse_int=_read_integer,
        )
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8.") from None
    except RecursionError:
        raise ValueError("the JSON is nested too deeply.") from None
    except ValueError as error:
        raise ValueError(f"it is not valid JSON: {error}.") from None
    _check_values(value, deepest, checks_texts=_needs_text_check(text))
    return value


def parse_metadata(text: str | bytes) -> Any:
    """parse_json() of a text that is one value of a body, as deep as it may be there."""
    return parse_json(text, deepest=MAX_JSON_DEPTH - 1)


def _decode(text: str | bytes) -> str:
    """The text of a body. json.loads() would guess UTF-16 and UTF-32 too."""
    return text if isinstance(text, str) else text.decode("utf-8-sig")


def _read_integer(digits: str) -> int | float:
    """The number; one that is far outside 64 bits as a float, which _check_values() refuses.

    Python reads no integer of more than 4,300 digits.
    """
    return int(digits) if len(digits) <= MAX_INTEGER_DIGITS else float(digits)


def _refuse_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object names the same key twice")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON number")


def _needs_text_check(text: str | bytes) -> bool:
    if isinstance(text, str):
        return "\\u" in text or is_unstorable(text)
    return any(mark in text for mark in ODD)


def check_depth(document: Any, deepest: int) -> None:
    """Raise ValueError for a value of JSON that is nested deeper than `deepest` levels."""
    _check_values(document, deepest, checks_texts=False)


def _check_values(document: Any, deepest: int, *, checks_texts: bool) -> None:
    level: list[Any] = [[document]]
    for _ in range(deepest + 1):  # the list around the document is the first level
        below: list[Any] = []
        for container in level:
            values = container
            if isinstance(container, dict):
                values = [*container, *container.values()] if checks_texts else container.values()
            for value in values:
                if isinstance(value, str):
                    if checks_texts and is_unstorable(value):
                        raise ValueError("a text holds NUL or half a character.")
                elif isinstance(value, dict | list):
                    below.append(value)
                elif isinstance(value, int | float) and not -(2**63) <= value < 2**63:
                    # 1e999 is infinity
                    raise ValueError("a number does not fit 64 bits.")
        level = below
        if not level:
            return
    raise ValueError(f"the JSON is nested deeper than {deepest} levels.")


@cache
def _schema_of_fields(schema: type[In], names: frozenset[str]) -> type[In]:
    """The schema with these fields alone, so that each can be judged without the others."""
    fields: dict[str, Any] = {
        name: (schema.model_fields[name].annotation, schema.model_fields[name]) for name in names
    }
    return create_model(schema.__name__, __base__=In, **fields)


def check_values(schema: type[In], values: Mapping[str, Any]) -> dict[str, Any]:
    """Check single values by the types of a schema's fields; return them as the schema reads them.

    For channels that are no JSON body: dates are given as text, and names that the schema does not
    have are left out. Raises Invalid with a pointer for each value that a body could not have.
    """
    known = {name: value for name, value in values.items() if name in schema.model_fields}
    try:
        return _schema_of_fields(schema, frozenset(known)).model_validate(known).sent()
    except ValidationError as error:
        found = [{**e, "loc": ("body", "body", *e["loc"])} for e in error.errors()]
        raise problem_of_validation(found) from None


def problem_of_validation(
    errors: list[dict[str, Any]], query_parameters: Collection[str] = ()
) -> Problem:
    """One problem for all that pydantic found. A field of the body that is the name of one of the
    operation's query parameters is told to go there.
    """
    found: list[dict[str, str]] = []
    for error in errors:
        place = _place(error.get("loc", ()))
        detail = _misplaced(error, query_parameters) or _sentence(error["msg"])
        entry = {**place, "code": error["type"], "detail": detail}
        if entry not in found:  # each member of a union says the same
            found.append(entry)
    first = found[0]
    where = first.get("parameter") or first.get("pointer", "#")
    return Invalid(f"{where}: {first['detail']}", code="validation_failed", errors=found)


def _place(loc: tuple[Any, ...]) -> dict[str, str]:
    source, *rest = loc or ("body",)
    if source == "body":
        return {"pointer": "/".join(["#", *(str(part) for part in rest[1:])])}
    # Behind the name come positions in lists and members of unions, which are not the caller's.
    return {"parameter": str(rest[min(1, len(rest) - 1)]) if rest else str(source)}


def _misplaced(error: dict[str, Any], query_parameters: Collection[str]) -> str | None:
    """What to do about a query parameter that was sent as a field of the body."""
    *_place, name = error.get("loc") or ("",)
    if error["type"] != "extra_forbidden" or name not in query_parameters:
        return None
    return f"“{name}” is a query parameter, not a field of the body: send ?{name}=true"


def _sentence(message: str) -> str:
    return message.removeprefix("Value error, ")
