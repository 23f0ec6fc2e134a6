"""From a tenant to its bundle."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from django.db import connection

from accounts.models import Tenant
from accounts.tenancy import inside
from tasks.bundle.format import (
    CHUNK,
    FORMAT,
    SECRETS,
    VERSION,
    fields_of,
    label_of,
    line,
    tenant_document,
    tenant_models,
)

Progress = Callable[[int], None]


def export_tenant(
    tenant: Tenant, file: BinaryIO, progress: Progress, *, with_secrets: bool = True
) -> dict[str, int]:
    """Write the whole tenant as of one moment; return the rows of each model.

    In constant memory. Without secrets, passwords and tokens stay behind.
    """
    digest = hashlib.sha256()

    def write(document: dict[str, Any]) -> None:
        data = line(document)
        digest.update(data)
        file.write(data)

    counts: dict[str, int] = {}
    with _one_moment(), inside(tenant):
        write({"format": FORMAT, "version": VERSION, "tenant": tenant_document(tenant)})
        for model in tenant_models():
            label = label_of(model)
            counts[label] = 0
            for rows in _chunks(model, with_secrets=with_secrets):
                for row in rows:
                    write({"model": label, "row": row})
                counts[label] += len(rows)
                progress(len(rows))
    file.write(line({"counts": counts, "sha256": digest.hexdigest()}))
    return counts


def count_rows(tenant: Tenant) -> int:
    with inside(tenant):
        return sum(model._base_manager.count() for model in tenant_models())


def _chunks(model: Any, *, with_secrets: bool) -> Iterator[list[dict[str, Any]]]:
    label, names = label_of(model), [field.attname for field in fields_of(model)]
    if label == "accounts.apitoken" and not with_secrets:
        return
    last = 0
    while True:
        rows = model._base_manager.filter(pk__gt=last).order_by("pk")[:CHUNK]
        found = [dict(zip(names, values, strict=True)) for values in rows.values_list(*names)]
        if not found:
            return
        if not with_secrets and label in SECRETS:
            for row in found:
                row[SECRETS[label]] = "!"
        yield found
        last = found[-1]["id"]


@contextmanager
def _one_moment() -> Iterator[None]:
    """What others write meanwhile is not seen. SQLite's transactions are so anyway."""
    if connection.vendor != "postgresql":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_isolation = 'repeatable read'")
        cursor.execute("SET statement_timeout = 0")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET default_transaction_isolation")
            cursor.execute("RESET statement_timeout")
