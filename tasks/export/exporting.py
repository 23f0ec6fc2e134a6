"""Export a tenant to a file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

from django.db.models import Model

from accounts.models import Tenant
from taskflow.db.session import current_session
from taskflow.tenancy import inside
from tasks.export.format import (
    CHUNK,
    FORMAT,
    SECRETS,
    VERSION,
    Line,
    exported_models,
    fields_of,
    json_line,
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

    Needs constant memory. `progress` is called with numbers of written rows. If `with_secrets` is
    False, passwords and tokens are left out. `note` is called with a sentence for each value that
    could not be written as it is stored.
    """
    digest = hashlib.sha256()

    def write(document: Line) -> None:
        data = json_line(document)
        digest.update(data)
        file.write(data)

    counts: dict[str, int] = {}
    with current_session().read_snapshots(), inside(tenant):
        write({"format": FORMAT, "version": VERSION, "tenant": tenant_document(tenant)})
        for model in exported_models():
            label = label_of(model)
            counts[label] = 0
            for rows in _read_chunks(model, note, with_secrets=with_secrets):
                for row in rows:
                    write({"model": label, "row": row})
                counts[label] += len(rows)
                progress(len(rows))
    file.write(json_line({"counts": counts, "sha256": digest.hexdigest()}))
    return counts


def count_rows(tenant: Tenant) -> int:
    """Return the number of rows that an export of the tenant contains. One query per model."""
    with inside(tenant):
        return sum(model._base_manager.count() for model in exported_models())


def _read_chunks(
    model: type[Model], note: Callable[[str], None], *, with_secrets: bool
) -> Iterator[list[ExportRow]]:
    """Yield the exported rows of a model, CHUNK at a time, ordered by id."""
    label, names = label_of(model), [field.attname for field in fields_of(model)]
    if label == "accounts.apitoken" and not with_secrets:
        return
    rows = model._base_manager.order_by("pk").values_list(*names)
    read = list(rows[:CHUNK])
    while read:
        chunk = [_build_row(model, values, note) for values in read]
        if not with_secrets and label in SECRETS:
            for row in chunk:
                row[SECRETS[label]] = "!"
        yield chunk
        read = list(rows.filter(pk__gt=chunk[-1]["id"])[:CHUNK])


def _build_row(
    model: type[Model], values: Sequence[object], note: Callable[[str], None]
) -> ExportRow:
    fields, notes = fields_of(model), list[str]()
    row = {
        field.attname: write_value(field, value, notes)
        for field, value in zip(fields, values, strict=True)
    }
    for text in dict.fromkeys(notes):
        note(f"{label_of(model)} {row['id']}: {text}.")
    return row
