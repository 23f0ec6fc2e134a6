"""Export a tenant to a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import BinaryIO

from django.db.models import Model

from accounts.models import Tenant
from taskflow.db.types import AnyField
from taskflow.tenancy import inside, read_one_snapshot
from tasks.export.format import (
    EXPORT,
    SECRETS,
    VERSION,
    FileFormat,
    LineWriter,
    chunk_size_of,
    exported_models,
    fields_of,
    label_of,
    tenant_document,
)
from tasks.export.values import ExportRow, write_value

Progress = Callable[[int], None]


def export_tenant(
    tenant: Tenant,
    file: BinaryIO,
    progress: Progress,
    *,
    with_secrets: bool = True,
    note: Callable[[str], None] = lambda _: None,
) -> dict[str, int]:
    """Write a consistent snapshot of the tenant to the file. Return the number of rows by model.

    Needs constant memory and stops no writer. `progress` is called with numbers of written rows.
    If `with_secrets` is False, passwords and tokens are left out. `note` is called with a sentence
    for each value that could not be written as it is stored.
    """
    lines = LineWriter(file, EXPORT)
    counts: dict[str, int] = {}
    with read_one_snapshot(), inside(tenant):
        lines.write({"format": EXPORT.name, "version": VERSION, "tenant": tenant_document(tenant)})
        for model in exported_models():
            label = label_of(model)
            counts[label] = 0
            for rows in read_chunks(model, EXPORT, note, with_secrets=with_secrets):
                for row in rows:
                    lines.write({"model": label, "row": row})
                counts[label] += len(rows)
                progress(len(rows))
    lines.write_end(counts)
    return counts


def count_rows(tenant: Tenant) -> int:
    """Return the number of rows that an export of the tenant contains. One query per model."""
    with inside(tenant):
        return sum(model._base_manager.count() for model in exported_models())


def read_chunks(
    model: type[Model],
    file_format: FileFormat,
    note: Callable[[str], None],
    *,
    with_secrets: bool = True,
) -> Iterator[list[ExportRow]]:
    """Yield the exported rows of a model in the current tenant, a chunk at a time, ordered by id.

    `note` is called with a sentence for each value that could not be written as it is stored.
    """
    label, fields = label_of(model), fields_of(model, file_format)
    build = partial(_build_row, label, fields, note=note, keeps_json=file_format.keeps_json)
    size = chunk_size_of(model)
    if label == "accounts.apitoken" and not with_secrets:
        return
    rows = model._base_manager.order_by("pk").values_list(*(field.attname for field in fields))
    read = list(rows[:size])
    while read:
        chunk = [build(values) for values in read]
        if not with_secrets and label in SECRETS:
            for row in chunk:
                row[SECRETS[label]] = "!"
        yield chunk
        read = list(rows.filter(pk__gt=chunk[-1]["id"])[:size])


def _build_row(
    label: str,
    fields: Sequence[AnyField],
    values: Sequence[object],
    *,
    note: Callable[[str], None],
    keeps_json: bool,
) -> ExportRow:
    notes: list[str] = []
    row = {
        field.attname: write_value(field, value, notes, keeps_numbers=keeps_json)
        for field, value in zip(fields, values, strict=True)
    }
    for text in dict.fromkeys(notes):
        note(f"{label} {row['id']}: {text}.")
    return row
