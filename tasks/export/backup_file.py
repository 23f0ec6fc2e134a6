"""
The format of a backup: one JSON document per line.

1. The first line: the format, a fingerprint of the secret key, and the last id of each table.
2. For each tenant a line with its columns, then its rows, model by model and ordered by id.
3. The last line: the number of rows of each model, and a SHA-256 of all lines before it.

The secret key itself is not in the file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from django.db.models import Model
from django.utils.crypto import salted_hmac

from accounts.models import Tenant
from taskflow.http.parsing import parse_json
from tasks.export.format import (
    BACKUP,
    VERSION,
    Line,
    exported_models,
    label_of,
    models_by_label,
)
from tasks.export.values import ExportRow
from tasks.export.verifying import (
    MAX_LINE_BYTES,
    NEWER,
    InvalidExport,
    fill_defaults,
    read_lines,
    refuse_newer,
)

NOT_A_BACKUP = "This is not a TaskFlow backup. Give a file that `manage.py backup` wrote."
CUT_OFF = "The backup is cut off: its last line is missing. Use another copy of the file."
CHANGED = "The backup has been changed: its checksum is wrong. Use another copy of the file."
TENANT = label_of(Tenant)


@dataclass(frozen=True)
class BackupContents:
    """The contents of a verified backup, without its rows. The keys are labels of models."""

    version: int
    key_fingerprint: str
    last_ids: Mapping[str, int]
    counts: Mapping[str, int]
    sha256: str  # of all lines but the last

    @property
    def total(self) -> int:
        return sum(self.counts.values())


class Entry(NamedTuple):
    """A line of a backup: a tenant, or a row with the tenant that it belongs to."""

    tenant: ExportRow
    label: str
    row: ExportRow  # for the line of a tenant the tenant itself


def compute_key_fingerprint() -> str:
    """Return a digest by which two installations can compare their secret keys."""
    return salted_hmac("taskflow.backup", "secret key", algorithm="sha256").hexdigest()


def build_head(last_ids: Mapping[str, int]) -> Line:
    """Return the first line."""
    return {
        "format": BACKUP.name,
        "version": VERSION,
        "secret_key_fingerprint": compute_key_fingerprint(),
        "last_ids": last_ids,
    }


def tables_by_label() -> dict[str, str]:
    """Return the tables whose rows a backup contains, by the label of their model."""
    models: list[type[Model]] = [Tenant, *exported_models(BACKUP)]
    return {label_of(model): model._meta.db_table for model in models}


def verify_backup(file: BinaryIO) -> BackupContents:
    """Read the whole file and compare its checksum. Return its contents.

    Needs constant memory. Raises InvalidExport if the file is not a backup, is incomplete, was
    changed, or was written by a newer version.
    """
    file.seek(0)
    digest, last = hashlib.sha256(), file.readline(MAX_LINE_BYTES)
    head = _read_head(last)
    while line := file.readline(MAX_LINE_BYTES):
        digest.update(last)
        last = line
    end = _parse(last)
    counts, sha256 = end.get("counts"), end.get("sha256")
    if not isinstance(counts, dict) or not isinstance(sha256, str) or not last.endswith(b"\n"):
        raise InvalidExport(CUT_OFF)
    if sha256 != digest.hexdigest():
        raise InvalidExport(CHANGED)
    return BackupContents(
        version=head["version"],
        key_fingerprint=head["secret_key_fingerprint"],
        last_ids=head["last_ids"],
        counts=counts,
        sha256=sha256,
    )


def read_backup(file: BinaryIO, contents: BackupContents) -> Iterator[Entry]:
    """Yield the tenants and rows of a verified backup, with defaults for missing columns.

    Raises InvalidExport if the file has changed since it was verified, or contains a model or
    column that this version does not have.
    """
    digest = hashlib.sha256()
    tenant: ExportRow = {}
    for number, (data, document) in enumerate(read_lines(file), 1):
        if "sha256" in document:
            break
        digest.update(data)
        try:
            if "tenant" in document:
                tenant = fill_defaults(Tenant, document["tenant"])
                yield Entry(tenant, TENANT, tenant)
            elif "row" in document:
                yield Entry(tenant, *_read_row(document))
        except ValueError as error:
            raise InvalidExport(f"Line {number}: {error}.") from None
    if digest.hexdigest() != contents.sha256:
        raise InvalidExport("The file has been changed while it was read.")


def _read_row(document: Line) -> tuple[str, ExportRow]:
    label = document["model"]
    model = models_by_label(BACKUP).get(label)
    if model is None:
        raise ValueError(f"this TaskFlow has no {label}: {NEWER}")
    return label, fill_defaults(model, document["row"], BACKUP)


def _read_head(line: bytes) -> Line:
    head = _parse(line)
    version = head.get("version")
    if head.get("format") != BACKUP.name or type(version) is not int:
        raise InvalidExport(NOT_A_BACKUP)
    refuse_newer(version)
    return head


def _parse(line: bytes) -> Line:
    """Return the JSON object of a line; an empty one if the line is something else."""
    try:
        document = parse_json(line)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
