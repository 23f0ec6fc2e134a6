"""
The formats of a tenant export and of a backup: one JSON document per line.

The first line of an export contains the format and the tenant. The rows follow, model by model and
ordered by id. The last line contains the counts and a SHA-256 of all lines before it. A backup
contains all tenants, and more columns: see backup_file.py. Two files of the same data are the same
bytes; two exports even from different databases.

A column that is missing in a file of an older version gets the default of its model field. A file
of a newer version is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from typing import Any, BinaryIO

from django.apps import apps
from django.db import models

from accounts.models import (
    IdempotencyRecord,
    MailToken,
    RecoveryCode,
    SecondFactor,
    Session,
    Tenant,
)
from taskflow.db.columns import columns_of
from taskflow.db.computed import ComputedField
from taskflow.db.types import AnyField
from taskflow.tenancy import is_tenant_model
from tasks.export.values import ExportRow, write_value
from tasks.models import Claim, Delivery, TaskCountDelta, Webhook

# Of both formats. Increase it whenever a model or column is added or changes its meaning. Otherwise
# an older TaskFlow would import the file and lose the values that it does not know.
VERSION = 2
SECRETS = {"accounts.user": "password", "accounts.apitoken": "digest"}
Model = type[models.Model]
Line = Mapping[str, Any]  # a line of the file, which is a JSON object


@dataclass(frozen=True, eq=False)
class FileFormat:
    """A kind of file: its name in the first line, and what it leaves out.

    With `keeps_json`, JSON values keep the order of their keys and the form of their numbers, as
    far as the database does. Without it, files of both databases are the same bytes.
    """

    name: str
    keeps_json: bool
    excluded_models: frozenset[Model]
    excluded_fields: frozenset[str]


EXPORT = FileFormat(
    "taskflow-export",
    keeps_json=False,
    # Stored responses for retries, and counts that the import computes from the tasks. Sessions,
    # links in mails and second factors work only in this installation, and so does the work that
    # claims protect. Webhooks stay behind, too: their secrets are computed from the key of the
    # installation, and two installations would send the same events.
    excluded_models=frozenset(
        {
            *(IdempotencyRecord, MailToken, TaskCountDelta, SecondFactor, RecoveryCode, Session),
            *(Claim, Webhook, Delivery),
        }
    ),
    # Columns about this installation (its sign-ins and claims), not about the data.
    excluded_fields=frozenset(
        {
            *("tenant", "is_sign_in", "sessions_ended_at"),
            *("claim_id", "assigned_by_claim_id"),
        }
    ),
)
BACKUP = FileFormat(
    "taskflow-backup",
    keeps_json=True,
    excluded_models=frozenset(),
    excluded_fields=frozenset({"tenant"}),
)


def chunk_size_of(model: Model) -> int:
    """Return how many rows of the model are read or written at a time.

    A stored response may be as large as a bulk request makes it.
    """
    return 20 if model is IdempotencyRecord else 2000


def exported_models(file_format: FileFormat = EXPORT) -> list[Model]:
    """Return the exported models, each after the models that it refers to."""
    models = {m for m in apps.get_models(include_auto_created=True) if is_tenant_model(m)}
    models -= file_format.excluded_models
    graph = {
        model: sorted(
            {f.related_model for f in columns_of(model) if f.related_model in models} - {model},
            key=label_of,
        )
        for model in sorted(models, key=label_of)
    }
    return list(TopologicalSorter(graph).static_order())


@cache
def models_by_label(file_format: FileFormat = EXPORT) -> dict[str, Model]:
    """Return the exported models by label, such as `tasks.task`."""
    return {label_of(model): model for model in exported_models(file_format)}


def label_of(model: Model) -> str:
    """Return the label of a model in the file, such as `tasks.task`."""
    return str(model._meta.label_lower)


@cache
def fields_of(model: Model, file_format: FileFormat = EXPORT) -> list[AnyField]:
    """Return the exported fields of a model.

    Without the tenant, which has a line of its own, and without the columns that are computed from
    others, which the import computes again.
    """
    excluded = file_format.excluded_fields
    return [
        f
        for f in columns_of(model)
        if f.name not in excluded and not f.generated and not isinstance(f, ComputedField)
    ]


def json_line(document: Line, file_format: FileFormat = EXPORT) -> bytes:
    """Return the document as one line of the file. Equal documents of an export are equal bytes."""
    text = json.dumps(
        document,
        ensure_ascii=False,
        sort_keys=not file_format.keeps_json,
        separators=(",", ":"),
        allow_nan=False,
    )
    return text.encode() + b"\n"


class LineWriter:
    """Writes the lines of a file, and its last line with their checksum."""

    def __init__(self, file: BinaryIO, file_format: FileFormat) -> None:
        self.file, self.file_format, self.digest = file, file_format, hashlib.sha256()

    def write(self, document: Line) -> None:
        data = json_line(document, self.file_format)
        self.digest.update(data)
        self.file.write(data)

    def write_end(self, counts: Mapping[str, int]) -> None:
        """Write the last line: the numbers of rows by label, and the checksum."""
        self.file.write(json_line({"counts": counts, "sha256": self.digest.hexdigest()}))


def tenant_fields() -> list[AnyField]:
    """Return the fields of a tenant that a file has. Its epoch follows from those of its events."""
    return [f for f in columns_of(Tenant) if f.name != "event_epoch"]


def tenant_document(tenant: Tenant) -> ExportRow:
    """Return the columns of the tenant for the first line of the file."""
    return {f.attname: write_value(f, getattr(tenant, f.attname), []) for f in tenant_fields()}


def reference_fields(model: Model, file_format: FileFormat = EXPORT) -> Iterator[tuple[str, Model]]:
    """Yield the columns that contain ids of other rows, each with the model of those rows."""
    for field in fields_of(model, file_format):
        if field.related_model is not None and is_tenant_model(field.related_model):
            yield field.attname, field.related_model
