"""What may be an id, where it arrives as text."""

from __future__ import annotations

import re

from django.urls.converters import IntConverter

from taskflow.http.schema import MAX_ID

DIGITS = "[0-9]{1,19}"


def is_id(text: str) -> bool:
    """Whether a row could have this id: a number that fits the database."""
    return re.fullmatch(DIGITS, text) is not None and int(text) <= MAX_ID


class IdConverter(IntConverter):
    """`{id:…}` in a path. No row has an id that does not fit the database: the answer is 404."""

    regex = DIGITS

    def to_python(self, value: str) -> int:
        if not is_id(value):
            raise ValueError("larger than any id")
        return int(value)
