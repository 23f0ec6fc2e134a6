"""Ids that arrive as text."""

from __future__ import annotations

import re

from django.urls.converters import IntConverter

from taskflow.http.schema import MAX_ID

DIGITS = "(?:0|[1-9][0-9]{0,18})"


def is_id(text: str) -> bool:
    """Return whether a row could have this id: a number of at most 64 bits."""
    return re.fullmatch(DIGITS, text) is not None and int(text) <= MAX_ID


class IdConverter(IntConverter):
    """`{id:…}` in a path. A larger number than any id is answered 404, not 500."""

    regex = DIGITS

    def to_python(self, value: str) -> int:
        if not is_id(value):
            raise ValueError("larger than any id")
        return int(value)
