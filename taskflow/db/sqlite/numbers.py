"""Numbers that are larger than SQLite's integers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from sqlite3 import DataError


@contextmanager
def convert_overflow_errors() -> Iterator[None]:
    """Raise DataError, as PostgreSQL does, for a number of more than 64 bits."""
    try:
        yield
    except OverflowError as error:
        raise DataError("a number does not fit 64 bits") from error
