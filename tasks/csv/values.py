"""The values of cells: as a request body would have them, and as a file is written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any, cast
from zoneinfo import ZoneInfo

from django.db import models
from django.utils.translation import gettext, gettext_noop

from taskflow.db.text import fold
from taskflow.http.errors import Invalid
from taskflow.http.parsing import parse_json, parse_metadata
from tasks.csv.dates import AmbiguousDate, ClockChange, When, read_when
from tasks.csv.profiles import DUE, Profile
from tasks.models import Task
from tasks.schemas.csv import DateOrder

# A spreadsheet would run a cell as a formula if it begins with one of these.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
ESCAPE = "'"
DAYS, TIMES = ("due_on",), ("due_date", "created_at", "completed_at")
PEOPLE = "people"  # in `values`: all columns of people
ANY_VALUE = "*"  # in `values`: every other text of the field


def protect(text: str) -> str:
    """Return the text of a cell with a leading ', if a spreadsheet would run it as a formula.

    A text that begins with a quote gets another one, so that unprotect() returns every text.
    """
    return ESCAPE + text if text.startswith((*FORMULA_STARTS, ESCAPE)) else text


def unprotect(cell: str) -> str:
    """Return the cell without the leading quote that protect() has added."""
    is_protected = cell.startswith(ESCAPE) and cell[1:].startswith((*FORMULA_STARTS, ESCAPE))
    return cell[1:] if is_protected else cell


def join_tags(names: Iterable[str]) -> str:
    """Return tags as one cell: separated by semicolons, in double quotes where that is needed."""
    return "; ".join(
        '"' + name.replace('"', '""') + '"' if ";" in name or '"' in name else name
        for name in names
    )


def split_tags(cell: str, separator: str | None = ";") -> list[str]:
    """Return the tags of a cell. `separator` is None if a cell contains one tag."""
    if separator is None:
        return [cell.strip()] if cell.strip() else []
    pattern = rf'\s*(?:"((?:[^"]|"")*)"\s*(?={separator}|$)|([^{separator}]*))(?:{separator}|$)'
    names = [
        match[1].replace('""', '"') if match[1] is not None else match[2].strip()
        for match in re.finditer(pattern, cell)
    ]
    return [name for name in names if name]


@dataclass(frozen=True)
class CellFormat:
    """How the cells of a file are read. `words` are the values of cells, by field and by text."""

    profile: Profile
    date_order: DateOrder | None
    zone: ZoneInfo
    words: Mapping[str, Mapping[str, str | None]]

    def translate(self, target: str, text: str) -> str:
        """Return the text that `values` of the request or the profile gives for a cell."""
        folded = fold_word(text)
        for words in (self.words.get(target, {}), self.profile.values.get(target, {})):
            if folded in words:
                return words[folded] or ""
            if ANY_VALUE in words and folded:
                return words[ANY_VALUE] or ""
        return text

    def translate_person(self, target: str, text: str) -> str:
        """Return the text that `values` gives for a person, of the field or of all people."""
        translated = self.translate(target, text)
        return translated if translated != text else self.translate(PEOPLE, text)

    def parse(self, target: str, texts: Sequence[str]) -> dict[str, object]:
        """Return the fields of a body that the cells of one target mean: one, or none or two.

        Texts that are not understood are returned as they are, so that the schema refuses them
        like those of a body. Raises Problem for those that it could not refuse.
        """
        cells = [self.translate(target, text) for text in texts]
        if target == "tags":
            separator = self.profile.tag_separator
            return {"tags": [name for cell in cells for name in split_tags(cell, separator)]}
        cell = cells[0] if cells else ""
        if target == DUE:
            return self._parse_due(cell)
        if target in (*DAYS, *TIMES):
            return {target: self._parse_date(target, cell)}
        return {target: _parse_plain(target, cell)}

    def _parse_due(self, cell: str) -> dict[str, object]:
        when = self._read_when(DUE, cell)
        if when is None:
            return {"due_on": cell.strip()}
        if when.timestamp is None or when.is_midnight:
            return {"due_on": when.day.isoformat()}
        return {"due_date": when.timestamp.isoformat()}

    def _parse_date(self, target: str, cell: str) -> str:
        when = self._read_when(target, cell)
        if when is None:
            return cell.strip()
        if target in DAYS:
            if when.timestamp and not when.is_midnight:
                raise Invalid.field(
                    target, gettext_noop("This is a time. The field due_date takes times.")
                )
            return when.day.isoformat()
        if when.timestamp is None and target == "due_date":
            raise Invalid.field(
                target, gettext_noop("This is a day, not a time. The field due_on takes days.")
            )
        # Other systems export only the day on which a task was created or completed.
        midnight = datetime.combine(when.day, time(), self.zone)
        return (when.timestamp or midnight).isoformat()

    def _read_when(self, target: str, cell: str) -> When | None:
        try:
            return read_when(cell, self.date_order, self.zone)
        except AmbiguousDate:
            raise Invalid.field(
                target,
                f"“{cell.strip()}” can be read in several ways. Send date_order=dmy, mdy or ymd.",
                "ambiguous_date",
            ) from None
        except ClockChange as error:
            raise Invalid.field(target, str(error)) from None
        except (ValueError, OverflowError) as error:
            raise Invalid.field(
                target,
                gettext("“%(cell)s” does not exist: %(error)s.")
                % {"cell": cell.strip(), "error": error},
            ) from None


def _parse_links(cell: str) -> object:
    """Return the links of a cell: JSON, or URLs with white space between them.

    Raises Invalid if the cell begins like JSON and is none.
    """
    if cell.lstrip().startswith(("[", "{")):
        return _parse_json("links", cell)
    return [{"url": url} for url in cell.split()]


def _parse_plain(target: str, cell: str) -> object:
    """Return the value of a cell of one field that is neither a date nor a list of tags."""
    field = cast(Any, Task._meta.get_field(target))
    if target == "links":
        return _parse_links(cell)
    if isinstance(field, models.JSONField):
        return _parse_json(target, cell)
    if field.choices:
        return match_choice(cell, field.choices)
    return cell


def _parse_json(target: str, cell: str) -> object:
    """Return the value of a cell with JSON. Raises Invalid if it is none."""
    try:
        return parse_metadata(cell) if target == "metadata" else parse_json(cell)
    except ValueError as error:
        label = target.replace("_", " ").capitalize()
        raise Invalid.field(
            target,
            gettext("%(column)s cannot be read. %(error)s") % {"column": label, "error": error},
        ) from None


def match_choice(cell: str, choices: Iterable[tuple[str, object]]) -> str:
    """Return the value of a choice that is written in any case, with blanks or dashes.

    “In Progress” is in_progress. Other texts are returned as they are.
    """
    folded = fold_choice(cell)
    for value, label in choices:
        if folded in (fold_choice(value), fold_choice(str(label))):
            return value
    return cell.strip()


def fold_choice(text: str) -> str:
    return re.sub(r"[\s_-]+", "_", fold(text).strip())


def fold_word(text: str) -> str:
    """Return the text of a cell in the form in which `values` are compared."""
    return " ".join(fold(text).split())


def format_metadata(value: Mapping[str, object]) -> str:
    """Return metadata as a cell; an empty text for an empty object."""
    return json.dumps(value, ensure_ascii=False) if value else ""


def format_links(links: Sequence[Mapping[str, str | None]]) -> str:
    """Return links as a cell: URLs separated by a blank, or JSON if one of them has a title."""
    if any(link["title"] for link in links):
        return json.dumps(links, ensure_ascii=False)
    return " ".join(str(link["url"]) for link in links)


def parse_cells(cells: Mapping[str, str], cell_format: CellFormat) -> dict[str, object]:
    """Return the cells of a row, by field, as the values of a body. Raises the first Problem."""
    sent: dict[str, object] = {}
    for target, text in cells.items():
        sent |= cell_format.parse(target, [text])
    return sent
