"""Verify an export: complete, unchanged, of a known version, with rows that can be stored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any, BinaryIO

from django.core.exceptions import ValidationError

from accounts.models import Tenant
from taskflow.db.columns import columns_of
from taskflow.http.errors import Problem
from taskflow.http.parsing import parse_json
from tasks.export.format import FORMAT, VERSION, fields_of, label_of, models_by_label
from tasks.export.values import MAX_CHANGES_DEPTH, check_content, default_of, read_value

MAX_LINE_BYTES = 256 * 1024 * 1024  # bytes: the event of a deleted tag names all tasks that had it
MAX_LINE_DEPTH = MAX_CHANGES_DEPTH + 2  # the line, the row, and its deepest column
MAX_ID = 2**62  # leaves room to shift all ids
FOREIGN = "This is not a TaskFlow export."
NEWER = "a newer TaskFlow wrote the file. Upgrade TaskFlow"


class InvalidExport(Exception):
    """The file cannot be imported. The message is a sentence about the reason."""


@dataclass
class Contents:
    """The contents of a verified file."""

    tenant: dict[str, Any]
    counts: dict[str, int] = field(default_factory=dict)
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)  # smallest, largest id
    sha256: str = ""  # of all lines but the last

    @property
    def total(self) -> int:
        return sum(self.counts.values())


def verify(file: BinaryIO) -> Contents:
    """Read the file to its end. Raises InvalidExport for one that is cut, edited, too new or no
    export.

    Columns that the file does not have, because an older TaskFlow wrote it, have their defaults.
    """
    lines = _lines(file)
    data, head = next(lines, (b"", {}))
    contents = Contents(_read_head(head), dict.fromkeys(models_by_label(), 0))
    digest = hashlib.sha256(data)
    order = _Order()
    for number, (data, document) in enumerate(lines, 2):
        if "sha256" in document:
            contents.sha256 = digest.hexdigest()
            _check_end(document, contents)
            if next(lines, None) is not None:
                raise InvalidExport("There is more behind the end of the export.")
            return contents
        digest.update(data)
        try:
            label, row = read_row(document)
            order.check(label, row["id"])
        except (Problem, ValueError, ValidationError) as error:
            raise InvalidExport(f"Line {number}: {sentence_of(error)}") from None
        first, _ = contents.spans.get(label, (row["id"], 0))
        contents.spans[label] = (first, row["id"])
        contents.counts[label] += 1
    raise InvalidExport("The export is cut off: its last line is missing.")


def verified_rows(file: BinaryIO, contents: Contents) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (model, row) for each row of a verified file, with defaults for columns it lacks.

    Raises InvalidExport when the file is not the proven one any more.
    """
    digest = hashlib.sha256()
    for data, document in _lines(file):
        if "sha256" in document:
            break
        digest.update(data)
        if "row" in document:
            label = document["model"]
            yield label, _complete(models_by_label()[label], document["row"])
    if digest.hexdigest() != contents.sha256:
        raise InvalidExport("The file has been changed while it was read.")


def sentence_of(error: Exception) -> str:
    """Return one line of text about a refused value."""
    if isinstance(error, Problem):
        text = error.detail
    elif isinstance(error, ValidationError):
        text = " ".join(error.messages)
    else:
        text = str(error).partition("\n")[0]
    return text if text.endswith(".") else f"{text}."


# ---- lines --------------------------------------------------------------------------------------


def _lines(file: BinaryIO) -> Iterator[tuple[bytes, dict[str, Any]]]:
    file.seek(0)
    number = 0
    while data := file.readline(MAX_LINE_BYTES):
        number += 1
        try:
            document = parse_json(data, max_depth=MAX_LINE_DEPTH)
        except ValueError as error:
            raise InvalidExport(
                f"Line {number} cannot be read, the file is cut or damaged: {error}"
            ) from None
        if not isinstance(document, dict) or not data.endswith(b"\n"):
            raise InvalidExport(f"Line {number} is not whole: the file is cut or damaged.")
        yield data, document


def _read_head(head: dict[str, Any]) -> dict[str, Any]:
    """Return the tenant's columns."""
    version, tenant = head.get("version"), head.get("tenant")
    if head.get("format") != FORMAT or type(version) is not int or version < 1:
        raise InvalidExport(FOREIGN)
    if version > VERSION:
        raise InvalidExport(
            f"This file has format {version}; this TaskFlow reads up to {VERSION}."
            " Upgrade TaskFlow."
        )
    if not isinstance(tenant, dict):
        raise InvalidExport("The first line does not describe the tenant.")
    try:
        row = _complete(Tenant, tenant)
        _check_values(Tenant, row)
        check_id(row["id"], 0)
    except (Problem, ValueError, ValidationError) as error:
        raise InvalidExport(f"Line 1: {sentence_of(error)}") from None
    return row


def read_row(document: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    label, row = document.get("model"), document.get("row")
    if not isinstance(label, str) or not isinstance(row, dict) or len(document) != 2:
        raise ValueError("this is not a row")
    model = models_by_label().get(label)
    if model is None:
        raise ValueError(f"this TaskFlow has no {label}: {NEWER}")
    row = _complete(model, row)
    _check_values(model, row)
    return label, row


def _check_end(document: dict[str, Any], contents: Contents) -> None:
    counts = document.get("counts")
    wanted = {label: count for label, count in contents.counts.items() if count}
    if not isinstance(counts, dict) or document["sha256"] != contents.sha256:
        raise InvalidExport("The export has been changed: its checksum is another.")
    if {label: count for label, count in counts.items() if count} != wanted:
        raise InvalidExport(
            "The export has been changed: it does not have the rows that it counts."
        )


# ---- rows ---------------------------------------------------------------------------------------


def _complete(model: Any, row: dict[str, Any]) -> dict[str, Any]:
    """Return the row with the defaults of columns that it lacks. Raises ValueError."""
    fields = _fields(model)
    if unknown := sorted(row.keys() - fields.keys()):
        raise ValueError(
            f"{label_of(model)} has no column {', '.join(unknown)} in this TaskFlow: {NEWER}"
        )
    missing = fields.keys() - row.keys()
    try:
        return row | {name: default_of(fields[name]) for name in sorted(missing)}
    except LookupError as error:
        raise ValueError(f"{label_of(model)} needs the column {error.args[0]}") from None


def _check_values(model: Any, row: dict[str, Any]) -> None:
    """Raise Problem, ValueError or ValidationError for a row that is not fit to be stored."""
    for name, column in _fields(model).items():
        read_value(column, row[name])
    check_content(label_of(model), row)
    if label_of(model) == "audit.event":
        _check_event(row)
    if label_of(model) == "accounts.apitoken":
        _check_ids(row["project_ids"])


def _check_event(row: dict[str, Any]) -> None:
    changes, undoes = row["changes"], row["undoes"]
    if not isinstance(changes, dict) or not all(
        isinstance(pair, list) and len(pair) == 2 for pair in changes.values()
    ):
        raise ValueError("changes does not name a value before and one after")
    if undoes is not None and not (
        isinstance(undoes, dict) and all(key.isascii() and key.isdigit() for key in undoes)
    ):
        raise ValueError("undoes does not name events")


def _check_ids(ids: Any) -> None:
    if ids is not None and not (isinstance(ids, list) and all(type(pk) is int for pk in ids)):
        raise ValueError("project_ids does not name projects")


@cache
def _fields(model: Any) -> dict[str, Any]:
    fields = columns_of(Tenant) if model is Tenant else fields_of(model)
    return {column.attname: column for column in fields}


def check_id(row_id: int, last: int) -> None:
    """Raise ValueError unless the id follows the last one."""
    if not last < row_id < MAX_ID:
        raise ValueError("the id is out of order")


class _Order:
    """Rows come model by model, each in the order of its ids."""

    def __init__(self) -> None:
        self.label, self.last = "", 0
        self.seen: set[str] = set()

    def check(self, label: str, row_id: int) -> None:
        if label != self.label:
            if label in self.seen:
                raise ValueError("the row is out of order")
            self.label, self.last = label, 0
            self.seen.add(label)
        check_id(row_id, self.last)
        self.last = row_id
