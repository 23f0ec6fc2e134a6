"""Write all tenants to a backup, and restore it into an empty database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import BinaryIO

from django.core.exceptions import ValidationError
from django.db import DataError, IntegrityError, connection, transaction

from accounts.models import Tenant
from taskflow.db.session import current_session
from taskflow.tenancy import inside, read_one_snapshot
from tasks.export.backup_file import (
    TENANT,
    BackupContents,
    Entry,
    build_head,
    read_backup,
    tables_by_label,
)
from tasks.export.epochs import begin_event_epoch
from tasks.export.exporting import Progress, read_chunks
from tasks.export.format import (
    BACKUP,
    VERSION,
    LineWriter,
    exported_models,
    label_of,
    tenant_document,
)
from tasks.export.importing import create_tenant, store_what_older_files_lack, write_rows
from tasks.export.sequences import read_sequence, set_sequences
from tasks.export.unfinished import finished_tenants
from tasks.export.verifying import InvalidExport, describe_error

# A restore takes as long as it needs. The client may be slow to parse what it has read.
UNLIMITED = {"statement_timeout": "0", "idle_in_transaction_session_timeout": "0"}


def write_backup(
    file: BinaryIO, progress: Progress, note: Callable[[str], None] = lambda _: None
) -> dict[str, int]:
    """Write one snapshot of all tenants to the file. Return the number of rows by label.

    Needs constant memory, and no writer waits for it. `progress` is called with numbers of written
    rows, `note` with a sentence for each value that could not be written as it is stored.
    """
    lines = LineWriter(file, BACKUP)
    counts = dict.fromkeys(tables_by_label(), 0)
    with read_one_snapshot():
        # A tenant that is read here begins the snapshot. All ids in it were given before.
        tenants = list(finished_tenants().values_list("pk", flat=True))
        last_ids = {name: read_sequence(table) for name, table in tables_by_label().items()}
        lines.write(build_head(last_ids))
        for pk in tenants:
            lines.write({"tenant": tenant_document(Tenant.objects.get(pk=pk))})
            counts[TENANT] += 1
            for label, number in _write_tenant(pk, lines, note):
                counts[label] += number
                progress(number)
    lines.write_end(counts)
    return counts


def restore_backup(file: BinaryIO, contents: BackupContents, progress: Progress) -> None:
    """Restore a verified backup in one transaction. All ids stay as they are.

    Raises InvalidExport, and changes nothing, if the database is not empty or a row cannot be
    stored.
    """
    try:
        with _write_alone():
            if Tenant.objects.exists():
                raise InvalidExport(
                    "The database is not empty: it has tenants. Restore into a new database."
                )
            for _, entries in groupby(read_backup(file, contents), lambda e: e.tenant["id"]):
                _restore_tenant(entries, progress, is_older=contents.version < VERSION)
            tables = tables_by_label()
            set_sequences({tables[name]: pk for name, pk in contents.last_ids.items()})
    except (IntegrityError, DataError, OverflowError, ValidationError, ValueError) as error:
        raise InvalidExport(f"A row cannot be stored: {describe_error(error)}") from None


def _restore_tenant(entries: Iterator[Entry], progress: Progress, *, is_older: bool) -> None:
    """Restore a tenant, which is the first entry, and its rows."""
    tenant = create_tenant(next(entries).tenant)
    progress(1)
    with inside(tenant):
        rows = ((entry.label, entry.row) for entry in entries)
        write_rows(rows, tenant, {}, progress, BACKUP)
        begin_event_epoch(tenant)
        if is_older:
            store_what_older_files_lack()


def _write_tenant(
    tenant_id: int, lines: LineWriter, note: Callable[[str], None]
) -> Iterator[tuple[str, int]]:
    """Write the rows of a tenant. Yield (label, number of rows) after each chunk."""
    with inside(tenant_id):
        for model in exported_models(BACKUP):
            label = label_of(model)
            for rows in read_chunks(model, BACKUP, note):
                for row in rows:
                    lines.write({"model": label, "row": row})
                yield label, len(rows)


@contextmanager
def _write_alone() -> Iterator[None]:
    """Open a transaction of any length. Until it ends, no other one can create a tenant."""
    session = current_session()
    access = session.reserve_write_access(read_only=False, max_wait=None)
    with access, transaction.atomic():
        session.set_transaction_settings(UNLIMITED)
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                table = Tenant._meta.db_table
                cursor.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
        yield
