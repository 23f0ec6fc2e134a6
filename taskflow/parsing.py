"""From the wire to values: JSON that means one thing, and what pydantic found in it."""

from __future__ import annotations

import json
from typing import Any

from django.http import HttpRequest
from ninja.parser import Parser

from taskflow.errors import BadRequest, Invalid, Problem, UnsupportedMedia
from taskflow.schema import is_unstorable

DEEPEST_JSON = 16
MALFORMED = "malformed_json"
# Without these bytes no text of a body can hold NUL or half a character: an escape, a surrogate
# in UTF-8, what is not UTF-8.
ODD = (b"\\u", b"\xed", b"\0")


class StrictParser(Parser):
    """JSON that means one thing and can be stored: see _check_values and _no_key_twice."""

    def parse_body(self, request: HttpRequest) -> dict[str, Any]:
        if request.content_type != "application/json":
            raise UnsupportedMedia("Send the body as Content-Type: application/json.")
        try:
            body = json.loads(request.body, object_pairs_hook=_no_key_twice, parse_constant=_refuse)
        except RecursionError:
            raise BadRequest("The JSON is nested too deeply.", code=MALFORMED) from None
        except ValueError as error:
            raise BadRequest(f"The body is not valid JSON: {error}.", code=MALFORMED) from None
        if not isinstance(body, dict):
            raise BadRequest("The body must be a JSON object.", code=MALFORMED)
        _check_values(body, may_be_odd=any(mark in request.body for mark in ODD))
        return body

    def parse_querydict(self, data: Any, list_fields: list[str], request: HttpRequest) -> Any:
        for name, values in data.lists():
            if any(is_unstorable(text) for text in (name, *values)):
                raise BadRequest("The query contains characters that cannot be stored.")
            if len(values) > 1 and name not in list_fields:
                raise Invalid.parameter(name, f"“{name}” may be given once.", "repeated")
        return super().parse_querydict(data, list_fields, request)


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object names the same key twice")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON number")


def _check_values(body: dict[str, Any], *, may_be_odd: bool) -> None:
    level: list[Any] = [body]
    for _ in range(DEEPEST_JSON):
        below: list[Any] = []
        for container in level:
            values = container
            if isinstance(container, dict):
                values = [*container, *container.values()] if may_be_odd else container.values()
            for value in values:
                if isinstance(value, str):
                    if may_be_odd and is_unstorable(value):
                        raise BadRequest("A text holds NUL or half a character.", code=MALFORMED)
                elif isinstance(value, dict | list):
                    below.append(value)
                elif isinstance(value, int | float) and not -(2**63) <= value < 2**63:
                    # 1e999 is infinity
                    raise BadRequest("A number does not fit 64 bits.", code=MALFORMED)
        level = below
        if not level:
            return
    raise BadRequest(f"The JSON is nested deeper than {DEEPEST_JSON}.", code=MALFORMED)


def problem_of_validation(errors: list[dict[str, Any]]) -> Problem:
    """One problem for all that pydantic found."""
    found: list[dict[str, str]] = []
    for error in errors:
        place = _place(error.get("loc", ()))
        entry = {**place, "code": error["type"], "detail": _sentence(error["msg"])}
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


def _sentence(message: str) -> str:
    return message.removeprefix("Value error, ")
