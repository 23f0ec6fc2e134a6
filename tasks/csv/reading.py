"""Read a CSV file: its charset, its delimiter and its rows."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

from django.utils.translation import gettext, gettext_noop

from taskflow.http.errors import Invalid, UnsupportedMedia
from tasks.csv.tables import MAX_COLUMNS, Row, Table, check_row_count

if TYPE_CHECKING:
    import _csv

DELIMITERS = (",", ";", "\t")
# The codec of each charset that a file may have. Those of UTF-8 and UTF-16 skip a byte order mark.
CODECS = {
    "utf-8": "utf-8-sig",
    "utf8": "utf-8-sig",
    "utf-16": "utf-16",
    "utf-16le": "utf-16-le",
    "utf-16be": "utf-16-be",
    "windows-1252": "cp1252",
    "cp1252": "cp1252",
}
UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def decode_file(body: bytes, charset: str | None) -> str:
    """Return the text of a file. `charset` is the one that the Content-Type names, or None.

    Without a charset, a file is UTF-16 if it begins with the byte order mark of UTF-16, and UTF-8
    otherwise. Raises UnsupportedMedia for an unknown charset, and Invalid for a file that is not
    in its charset or has characters that cannot be stored.
    """
    detected = "utf-16" if body.startswith(UTF_16_MARKS) else "utf-8"
    declared = detected if charset is None else charset.lower()
    if declared not in CODECS:
        raise UnsupportedMedia(f"Send the file in one of these charsets: {', '.join(CODECS)}.")
    try:
        text = body.decode(CODECS[declared])
    except UnicodeDecodeError as error:
        raise Invalid(
            f"The file is not {declared}: byte {error.start} cannot be decoded. Name the charset"
            " of the file, as in Content-Type: text/csv; charset=windows-1252, or save it as UTF-8."
        ) from None
    if "\0" in text:  # decoding has refused surrogates, which cannot be stored either
        raise Invalid(gettext_noop("The file contains NUL. Remove it."))
    return text.removeprefix("\ufeff")


def detect_delimiter(text: str) -> str:
    """Return the delimiter that is most frequent in the first line, outside quotes.

    A comma if the line has none.
    """
    counts = dict.fromkeys(DELIMITERS, 0)
    is_quoted = False
    for character in text:
        if character == '"':
            is_quoted = not is_quoted
        elif not is_quoted and character in "\r\n":
            break
        elif not is_quoted and character in counts:
            counts[character] += 1
    return max(DELIMITERS, key=lambda delimiter: counts[delimiter])


def read_table(text: str, delimiter: str | None = None) -> Table:
    """Return the columns and rows of a CSV file. Lines may end in CR, LF or both.

    Detects the delimiter if it is None. Cells keep their white space; rows without text are left
    out. Raises Invalid if the file is not CSV, has no first line, more than MAX_COLUMNS columns or
    more than MAX_ROWS rows, or if a row has more cells than the first line.
    """
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter or detect_delimiter(text), strict=True
    )
    try:
        headers = [name.strip() for name in next(reader, [])]
        _check_headers(headers)
        return Table(headers, list(_read_rows(reader, len(headers))))
    except csv.Error as error:
        raise Invalid(
            gettext("Line %(line)s is not valid CSV: %(error)s.")
            % {"line": reader.line_num, "error": error}
        ) from None


def _check_headers(headers: list[str]) -> None:
    if not any(headers):
        raise Invalid(gettext_noop("The first line must contain the names of the columns."))
    if len(headers) > MAX_COLUMNS:
        raise Invalid(
            gettext("The file has more than %(limit)s columns.") % {"limit": MAX_COLUMNS},
            code="too_many",
        )


def _read_rows(reader: _csv.Reader, width: int) -> Iterator[Row]:
    """Yield the rows that have text. Raises Invalid, see read_table()."""
    begin, count = reader.line_num + 1, 0
    for number, cells in enumerate(reader, start=2):
        if any(cell.strip() for cell in cells[width:]):
            raise Invalid(
                f"Row {number} (line {begin}) has {len(cells)} cells and the first line {width}."
                " Put cells that contain the delimiter in quotes, or name the delimiter."
            )
        if any(cell.strip() for cell in cells):
            count += 1
            check_row_count(count)
            yield Row(number, begin, cells[:width])
        begin = reader.line_num + 1
