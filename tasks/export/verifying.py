"""Verify that an export is complete, unchanged, of a known version, and can be imported."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import BinaryIO

from django.core.exceptions import ValidationError
from django.db.models import Model

from accounts.models import Tenant
from taskflow.db.types import MAX_ID, AnyField
from taskflow.http.errors import Problem
from taskflow.http.parsing import parse_json
from tasks.export.format import (
    EXPORT,
    VERSION,
    FileFormat,
    Line,
    fields_of,
    label_of,
    models_by_label,
    tenant_fields,
)
from tasks.export.tag_names import number_equal_names
from tasks.export.values import MAX_CHANGES_DEPTH, ExportRow, check_content, default_of, read_value
from tasks.models import Outcome, Role, Status, Tag, Task

MAX_LINE_BYTES = 256 * 1024 * 1024  # the event of a deleted tag contains the ids of all its tasks
MAX_LINE_DEPTH = MAX_CHANGES_DEPTH + 2  # a line contains a row, which contains columns
MAX_EXPORT_ID = 2**62  # so that all ids can be shifted without overflow
MAX_EPOCH = 1_000_000  # a log gets another one with each import
TAG = label_of(Tag)
NOT_AN_EXPORT = "This is not a TaskFlow export. Give a file that `manage.py export` wrote."
NEWER = "a newer TaskFlow wrote the file. Upgrade TaskFlow"


class InvalidExport(Exception):
    """The file cannot be imported or restored. The message is a sentence that states the reason."""


@dataclass
class Contents:
    """The contents of a verified file."""

    tenant: ExportRow
    counts: dict[str, int] = field(default_factory=dict)
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)  # smallest, largest id
    sha256: str = ""  # of all lines but the last
    # The new names of tags whose name an earlier tag has, by their ids in the file.
    renamed_tags: dict[int, str] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return sum(self.counts.values())


def verify(file: BinaryIO) -> Contents:
    """Read and check the whole file. Return its contents, without the rows.

    Raises InvalidExport if the file is not an export, is incomplete, was changed, is of a newer
    version, or contains a row that cannot be stored.
    """
    lines = read_lines(file)
    data, head = next(lines, (b"", {}))
    contents = Contents(_read_head(head), dict.fromkeys(models_by_label(), 0))
    digest = hashlib.sha256(data)
    order = _OrderCheck()
    tag_names: dict[int, str] = {}
    for number, (data, document) in enumerate(lines, 2):
        if "sha256" in document:
            contents.sha256 = digest.hexdigest()
            _check_end(document, contents)
            if next(lines, None) is not None:
                raise InvalidExport(
                    "The file continues after the end of the export. Use the original file."
                )
            contents.renamed_tags = number_equal_names(tag_names)
            return contents
        digest.update(data)
        try:
            label, row = read_row(document)
            order.check(label, row["id"])
        except (Problem, ValueError, ValidationError) as error:
            raise InvalidExport(f"Line {number}: {describe_error(error)}") from None
        first, _ = contents.spans.get(label, (row["id"], 0))
        contents.spans[label] = (first, row["id"])
        contents.counts[label] += 1
        if label == TAG:
            tag_names[row["id"]] = row["name"]
    raise InvalidExport("The export is cut off: its last line is missing. Export again.")


def read_verified_rows(file: BinaryIO, contents: Contents) -> Iterator[tuple[str, ExportRow]]:
    """Yield (label of the model, row) for each row of a verified file, with defaults for missing
    columns.

    Raises InvalidExport if the file has changed since it was verified.
    """
    digest = hashlib.sha256()
    for data, document in read_lines(file):
        if "sha256" in document:
            break
        digest.update(data)
        if "row" in document:
            label = document["model"]
            yield label, fill_defaults(models_by_label()[label], document["row"])
    if digest.hexdigest() != contents.sha256:
        raise InvalidExport("The file has been changed while it was read.")


def describe_error(error: Exception) -> str:
    """Return one sentence about an error, for a message to the user."""
    if isinstance(error, Problem):
        text = error.detail
    elif isinstance(error, ValidationError):
        text = " ".join(error.messages)
    else:
        text = str(error).partition("\n")[0]
    return text if text.endswith(".") else f"{text}."


# ---- lines --------------------------------------------------------------------------------------


def read_lines(file: BinaryIO) -> Iterator[tuple[bytes, Line]]:
    """Yield each line of the file with its JSON object. Raises InvalidExport for another line."""
    file.seek(0)
    number = 0
    while data := file.readline(MAX_LINE_BYTES):
        number += 1
        try:
            document = parse_json(data, max_depth=MAX_LINE_DEPTH)
        except ValueError as error:
            raise InvalidExport(
                f"Line {number} cannot be read, the file is incomplete or damaged: {error}"
            ) from None
        if not isinstance(document, dict) or not data.endswith(b"\n"):
            raise InvalidExport(f"Line {number} is incomplete: the file is incomplete or damaged.")
        yield data, document


def _read_head(head: Line) -> ExportRow:
    """Check the first line. Return the columns of the tenant."""
    version, tenant = head.get("version"), head.get("tenant")
    if head.get("format") != EXPORT.name or type(version) is not int or version < 1:
        raise InvalidExport(NOT_AN_EXPORT)
    refuse_newer(version)
    if not isinstance(tenant, dict):
        raise InvalidExport("The first line does not describe the tenant.")
    try:
        row = fill_defaults(Tenant, tenant)
        _check_values(Tenant, row)
        _check_id_shifts(row["event_id_shifts"])
        check_id(row["id"], 0)
    except (Problem, ValueError, ValidationError) as error:
        raise InvalidExport(f"Line 1: {describe_error(error)}") from None
    return row


def refuse_newer(version: int) -> None:
    """Raise InvalidExport for the version of a file that a newer TaskFlow wrote."""
    if version > VERSION:
        raise InvalidExport(
            f"This file has format {version}; this TaskFlow reads up to {VERSION}."
            " Upgrade TaskFlow."
        )


def read_row(document: Line) -> tuple[str, ExportRow]:
    """Return (label of the model, checked row). Raises Problem, ValueError or ValidationError."""
    label, row = document.get("model"), document.get("row")
    if not isinstance(label, str) or not isinstance(row, dict) or len(document) != 2:
        raise ValueError("this is not a row")
    model = models_by_label().get(label)
    if model is None:
        raise ValueError(f"this TaskFlow has no {label}: {NEWER}")
    row = fill_defaults(model, row)
    _check_values(model, row)
    return label, row


def _check_end(document: Line, contents: Contents) -> None:
    """Check the checksum and the counts in the last line. Raises InvalidExport."""
    counts = document.get("counts")
    expected = {label: count for label, count in contents.counts.items() if count}
    if not isinstance(counts, dict) or document["sha256"] != contents.sha256:
        raise InvalidExport("The export has been changed: its checksum is wrong.")
    if {label: count for label, count in counts.items() if count} != expected:
        raise InvalidExport("The export has been changed: its row counts are wrong.")


# ---- rows ---------------------------------------------------------------------------------------


def fill_defaults(
    model: type[Model], row: ExportRow, file_format: FileFormat = EXPORT
) -> ExportRow:
    """Return the row with defaults for missing columns. Raises ValueError for unknown columns."""
    fields = _fields_by_name(model, file_format)
    if unknown := sorted(row.keys() - fields.keys()):
        raise ValueError(
            f"{label_of(model)} has no column {', '.join(unknown)} in this TaskFlow: {NEWER}"
        )
    missing = fields.keys() - row.keys()
    try:
        defaults = {name: default_of(fields[name]) for name in sorted(missing)}
    except LookupError as error:
        raise ValueError(f"{label_of(model)} needs the column {error.args[0]}") from None
    if model is Task and "outcome" in missing and row.get("status") == Status.DONE:
        defaults["outcome"] = Outcome.COMPLETED.value  # a done task without an outcome is refused
    return row | defaults


def _check_values(model: type[Model], row: ExportRow) -> None:
    """Raise Problem, ValueError or ValidationError for a row that cannot be stored."""
    for name, column in _fields_by_name(model).items():
        read_value(column, row[name])
    check_content(label_of(model), row)
    if label_of(model) == "audit.event":
        _check_event(row)
    if label_of(model) == "accounts.apitoken":
        _check_ids(row["project_ids"])
    if label_of(model) == "tasks.invitation":
        _check_invited_projects(row["projects"])


def _check_event(row: ExportRow) -> None:
    if not (1 <= row["epoch"] <= MAX_EPOCH and 0 <= row["sequence"] <= MAX_ID):
        raise ValueError("epoch and sequence must be those of an event log")
    changes, undoes = row["changes"], row["undoes"]
    if not isinstance(changes, dict) or not all(
        isinstance(pair, list) and len(pair) == 2 for pair in changes.values()
    ):
        raise ValueError("changes must contain [before, after] for each field")
    if undoes is not None and not (
        isinstance(undoes, dict) and all(key.isascii() and key.isdigit() for key in undoes)
    ):
        raise ValueError("undoes must have event ids as its keys")


def _check_id_shifts(shifts: object) -> None:
    """Raise ValueError unless the value is {epoch: number}, as tenants have it."""
    if shifts is not None and not (
        isinstance(shifts, dict)
        and all(
            key.isascii() and key.isdigit() and type(shift) is int and abs(shift) < MAX_EXPORT_ID
            for key, shift in shifts.items()
        )
    ):
        raise ValueError("event_id_shifts must have a number for each epoch")


def _check_ids(ids: object) -> None:
    if ids is not None and not (isinstance(ids, list) and all(type(pk) is int for pk in ids)):
        raise ValueError("project_ids must be a list of project ids")


def _check_invited_projects(projects: object) -> None:
    """Raise ValueError unless the value is [{"project_id": …, "role": …}], as rows have it."""
    for one in projects if isinstance(projects, list) else [projects]:
        if not isinstance(one, dict) or one.keys() != {"project_id", "role"}:
            raise ValueError("projects must be a list of project_id and role")
        if type(one["project_id"]) is not int or one["role"] not in Role.values:
            raise ValueError("projects must have ids of projects and known roles")


@cache
def _fields_by_name(model: type[Model], file_format: FileFormat = EXPORT) -> dict[str, AnyField]:
    fields = tenant_fields() if model is Tenant else fields_of(model, file_format)
    return {column.attname: column for column in fields}


def check_id(row_id: int, last: int) -> None:
    """Raise ValueError unless the id is greater than the last one, and below MAX_EXPORT_ID."""
    if not last < row_id < MAX_EXPORT_ID:
        raise ValueError("the id is out of order")


class _OrderCheck:
    """Checks that rows are grouped by model and ordered by id."""

    def __init__(self) -> None:
        self.label, self.last = "", 0
        self.labels: set[str] = set()  # of the models so far

    def check(self, label: str, row_id: int) -> None:
        if label != self.label:
            if label in self.labels:
                raise ValueError("the row is out of order")
            self.label, self.last = label, 0
            self.labels.add(label)
        check_id(row_id, self.last)
        self.last = row_id
