"""The text of cursors.

A cursor holds the name of its list, a fingerprint of its filters, and the position of the last row
of its page: see taskflow/db/ordering.py. Clients can forge it, so every value in it is checked.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models

from taskflow.db.ordering import few_values_of
from taskflow.db.types import MAX_ID, Position
from taskflow.http.errors import InvalidCursor
from taskflow.http.schema import check_timestamp, is_unstorable

WRONG_CURSOR = (
    "The cursor is not one of this list with these filters in this order. Start again without it."
)


def encode_cursor(
    model: type[models.Model], order: Sequence[str], position: Position, fingerprint: str
) -> str:
    """Return the cursor of a position in the list of this model, order and filters."""
    values = [value.isoformat() if isinstance(value, date) else value for value in position]
    return encode_values([_list_name(model, order) + fingerprint, *values])


def decode_cursor(
    model: type[models.Model], order: Sequence[str], cursor: str, fingerprint: str
) -> Position:
    """Return the position that the cursor holds. Raises InvalidCursor if it is of another list."""
    name, *values = decode_values(cursor, len(order) + 1)
    try:
        fields = [model._meta.get_field(name.removeprefix("-")) for name in order]
        if name != _list_name(model, order) + fingerprint or any(
            isinstance(value, list | dict | bool) for value in values
        ):
            raise ValueError
        position = [_parse_value(f, v) for f, v in zip(fields, values, strict=True)]
        _check_few_values(model, order, position)
        return position
    except (ValueError, TypeError, ValidationError, OverflowError):
        raise InvalidCursor(WRONG_CURSOR) from None


def encode_values(values: list[Any]) -> str:
    """Return a text of URL-safe characters that holds the values."""
    text = json.dumps(values, separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_values(cursor: str, length: int) -> list[Any]:
    """Return the values of encode_values(). Raises InvalidCursor unless there are `length`."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        values = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, RecursionError):
        raise InvalidCursor(WRONG_CURSOR) from None
    if not isinstance(values, list) or len(values) != length:
        raise InvalidCursor(WRONG_CURSOR)
    return values


def _check_few_values(model: type[models.Model], order: Sequence[str], position: Position) -> None:
    """Raise ValueError for a value that a field of few values never has.

    The query computes the values that follow, and none follows one beyond the last.
    """
    few_values = few_values_of(model)
    for name, value in zip(order, position, strict=True):
        values = few_values.get(name.removeprefix("-"))
        if values is not None and value not in values:
            raise ValueError("is not one of the few values")


def _list_name(model: type[models.Model], order: Sequence[str]) -> str:
    """Return the name of a list and its order, which a cursor is valid for."""
    return f"{model._meta.model_name}:{','.join(order)}"


def _parse_value(field: Any, value: object) -> object:
    """Return the value of a column. Raises ValueError or ValidationError if no row can have it.

    Cursors can be forged, and the database would fail for such a value.
    """
    value = getattr(field, "output_field", field).to_python(value)  # of a generated column
    if value is None and not field.null:
        raise ValueError("must not be null")
    if isinstance(value, int) and abs(value) > MAX_ID:
        raise ValueError("does not fit 64 bits")
    if isinstance(value, str) and is_unstorable(value):
        raise ValueError("is a text that cannot be stored")
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("has no time zone")
        return check_timestamp(value)
    return value
