"""Ids, and true and false, that arrive as text."""

from __future__ import annotations

import re

from django.urls.converters import IntConverter

from taskflow.db.types import MAX_ID
from taskflow.http.validation import build_problem, show_value

DIGITS = "(?:0|[1-9][0-9]{0,18})"


def is_id(text: str) -> bool:
    """Return whether a row could have this id: a number of at most 64 bits."""
    return re.fullmatch(DIGITS, text) is not None and int(text) <= MAX_ID


def parse_boolean(name: str, text: str) -> bool:
    """Return the value of a query parameter. Raises Invalid for any text but true and false."""
    if text not in ("true", "false"):
        sentence = f"“{name}” must be true or false, not {show_value(text)}."
        raise build_problem([{"parameter": name, "code": "wrong_format", "detail": sentence}])
    return text == "true"


class IdConverter(IntConverter):
    """`{id:…}` in a path. A larger number than any id is answered 404, not 500."""

    regex = DIGITS

    def to_python(self, value: str) -> int:
        if not is_id(value):
            raise ValueError("larger than any id")
        return int(value)
