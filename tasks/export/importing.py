"""Import a tenant from a file. The caller must have verified the whole file before."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby, islice
from operator import itemgetter
from typing import Any, BinaryIO

from django.core.exceptions import ValidationError
from django.db import DataError, IntegrityError, connection, transaction
from django.db.models import Model
from django.utils.timezone import now

from accounts.models import SUBDOMAIN, Tenant
from taskflow.audit.models import Event
from taskflow.audit.quotas import require_within_quotas
from taskflow.audit.resource_types import model_of_field
from taskflow.db.batches import BATCH_ROWS, MAX_WAIT, pause_for_writers
from taskflow.db.columns import columns_of
from taskflow.db.computed import set_computed
from taskflow.http.errors import QuotaExceeded
from taskflow.tenancy import inside
from tasks.export.epochs import begin_event_epoch
from tasks.export.exporting import Progress
from tasks.export.format import (
    EXPORT,
    FileFormat,
    chunk_size_of,
    exported_models,
    fields_of,
    label_of,
    models_by_label,
    reference_fields,
    tenant_fields,
)
from tasks.export.sequences import advance_sequence
from tasks.export.tag_names import rename_tag
from tasks.export.unfinished import discard, hide, one_import_at_a_time, publish
from tasks.export.values import ExportRow, read_value
from tasks.export.verifying import TAG, Contents, InvalidExport, describe_error, read_verified_rows
from tasks.models import Comment, Project, ProjectKey, TaskCountDelta


def import_tenant(
    file: BinaryIO, contents: Contents, progress: Progress, *, subdomain: str | None = None
) -> tuple[Tenant, bool]:
    """Import a verified export. Return the tenant, and whether its tokens were imported.

    Nobody sees the tenant before it is complete. On PostgreSQL the import is one transaction; on
    SQLite it consists of short ones, so that other writers do not wait: see unfinished.py.

    Ids that are taken in this database are shifted: the same number is added to all ids of a table.
    The text of a token contains the tenant's id, so that tokens are left out if that id changes.
    Tags in `contents.renamed_tags` get other names, with an event that gives the reason. Raises
    InvalidExport if the subdomain is taken or a row cannot be stored.
    """
    values = contents.tenant | ({"subdomain": subdomain} if subdomain else {})
    if not SUBDOMAIN.fullmatch(str(values.get("subdomain"))):
        raise InvalidExport(
            "The subdomain of the tenant is not a DNS label. Import it --as another."
        )
    if Tenant.objects.filter(subdomain=values["subdomain"]).exists():
        raise _build_taken(values)
    try:
        with one_import_at_a_time():
            # The ids are reserved in short transactions, because that locks tables of PostgreSQL.
            shift = {label_of(m): _reserve_ids(m, contents.spans) for m in exported_models()}
            values["id"] = _reserve_tenant_id(contents.tenant["id"])
            if connection.vendor == "sqlite":
                tenant = _import_in_batches(file, contents, values, shift, progress)
            else:
                with transaction.atomic():
                    tenant = create_tenant(values)
                    _import_rows(file, contents, tenant, shift, progress)
    except QuotaExceeded as error:
        raise InvalidExport(error.detail) from None
    except (IntegrityError, DataError, OverflowError, ValidationError) as error:
        raise InvalidExport(f"A row cannot be stored: {describe_error(error)}") from None
    return tenant, tenant.pk == contents.tenant["id"]


def _build_taken(values: ExportRow) -> InvalidExport:
    return InvalidExport(
        f"There is already a tenant {values['subdomain']}. Import it --as another."
    )


# ---- writing ------------------------------------------------------------------------------------


def _import_in_batches(
    file: BinaryIO,
    contents: Contents,
    values: ExportRow,
    shift: dict[str, int],
    progress: Progress,
) -> Tenant:
    """Import into a hidden tenant, and publish it at the end. If anything fails, remove it."""
    with transaction.atomic():
        tenant = create_tenant(values, is_hidden=True)
    try:
        _import_rows(file, contents, tenant, shift, progress)
        if Tenant.objects.filter(subdomain=values["subdomain"]).exists():
            raise _build_taken(values)
        publish(tenant, values)
    except BaseException:  # also when the command is interrupted
        discard(tenant)
        raise
    return tenant


def _import_rows(
    file: BinaryIO,
    contents: Contents,
    tenant: Tenant,
    shift: dict[str, int],
    progress: Progress,
) -> None:
    events: list[Event] = []  # of the tags that get another name
    rows = _rename_tags(read_verified_rows(file, contents), contents.renamed_tags, events)
    if tenant.pk != contents.tenant["id"]:
        rows = _leave_out_tokens(rows, progress)
    write_rows(rows, tenant, shift, progress)
    with inside(tenant, max_wait=MAX_WAIT):
        begin_event_epoch(tenant, shift[label_of(Event)])
        for event in events:
            event.tenant, event.epoch = tenant, tenant.event_epoch
            event.subject_id += shift[TAG]
        Event.objects.bulk_create(events)
        TaskCountDelta.repair(Project.everything.all())
        store_what_older_files_lack()
        require_within_quotas(tenant.pk)


def store_what_older_files_lack() -> None:
    """Store the rows and values of the current tenant that files of version 1 do not have."""
    ProjectKey.store_missing()
    Comment.store_missing_times()


def create_tenant(values: ExportRow, *, is_hidden: bool = False) -> Tenant:
    """Insert the tenant with all its columns as they are in the file, or hidden until publish().

    Raises ValidationError.
    """
    columns = {f.attname: read_value(f, values[f.attname]) for f in tenant_fields()}
    tenant = Tenant(**columns)
    tenant.full_clean(validate_unique=False)
    if is_hidden:
        hide(tenant)
    _insert(Tenant, [tenant])
    return tenant


def _leave_out_tokens(
    rows: Iterator[tuple[str, ExportRow]], progress: Progress
) -> Iterator[tuple[str, ExportRow]]:
    for label, row in rows:
        if label == "accounts.apitoken":
            progress(1)
        else:
            yield label, row


def write_rows(
    rows: Iterator[tuple[str, ExportRow]],
    tenant: Tenant,
    shift: dict[str, int],
    progress: Progress,
    file_format: FileFormat = EXPORT,
) -> None:
    """Insert (label of the model, row) in the tenant, grouped by model.

    Outside a transaction, each batch is a transaction of its own. `shift` is added to the ids, by
    label. If it is empty, all ids stay as they are.
    """
    models = models_by_label(file_format)
    for label, group in groupby(rows, key=itemgetter(0)):
        model = models[label]
        later: list[tuple[int, str, int]] = []  # (row id, column, id of a later row)
        while chunk := [row for _, row in islice(group, _batch_size_of(model))]:
            if shift:
                _shift_ids_of(model, chunk, shift)
            _postpone_references(model, chunk, later)
            with inside(tenant, max_wait=MAX_WAIT):
                _insert_chunk(model, tenant, chunk, file_format)
            progress(len(chunk))
            pause_for_writers()
        for start in range(0, len(later), BATCH_ROWS):
            with inside(tenant, max_wait=MAX_WAIT):
                for row_id, name, target in later[start : start + BATCH_ROWS]:
                    model._base_manager.filter(pk=row_id).update(**{name: target})
            pause_for_writers()


def _batch_size_of(model: type[Model]) -> int:
    """Return how many rows are inserted at a time: fewer if each batch is a transaction."""
    return chunk_size_of(model) if connection.in_atomic_block else BATCH_ROWS


def _rename_tags(
    rows: Iterator[tuple[str, ExportRow]], names: dict[int, str], events: list[Event]
) -> Iterator[tuple[str, ExportRow]]:
    """Give the tags the names that `names` has for their ids in the file. Add the events."""
    for label, row in rows:
        if label == TAG and row["id"] in names:
            events.append(rename_tag(row, names[row["id"]], now()))
        yield label, row


def _postpone_references(
    model: type[Model], chunk: list[ExportRow], later: list[tuple[int, str, int]]
) -> None:
    """Set references to later rows of the same table to null and add them to `later`: the caller
    sets them when all rows exist.
    """
    names = [name for name, target in reference_fields(model) if target is model]
    last = chunk[-1]["id"]
    for row in chunk if names else ():
        for name in names:
            if row[name] is not None and row[name] > last:
                later.append((row["id"], name, row[name]))
                row[name] = None


def _shift_ids_of(model: type[Model], chunk: list[ExportRow], shift: dict[str, int]) -> None:
    label, references = label_of(model), list(reference_fields(model))
    for row in chunk:
        row["id"] += shift[label]
        for name, target in references:
            if row[name] is not None:
                row[name] += shift[label_of(target)]
        if label == "audit.event":
            _shift_event(row, shift)
        if label == "accounts.apitoken" and row["project_ids"]:
            row["project_ids"] = [pk + shift["tasks.project"] for pk in row["project_ids"]]
        if label == "tasks.invitation":
            for joined in row["projects"]:
                joined["project_id"] += shift["tasks.project"]


def _insert_chunk(
    model: type[Model], tenant: Tenant, chunk: list[ExportRow], file_format: FileFormat
) -> None:
    fields = fields_of(model, file_format)
    _insert(
        model,
        [
            model(tenant_id=tenant.pk, **{f.attname: read_value(f, row[f.attname]) for f in fields})
            for row in chunk
        ],
    )


def _shift_event(row: ExportRow, shift: dict[str, int]) -> None:
    """Shift the ids of an event: its subject, its project, and those in its changes."""
    labels = {label.split(".")[1]: label for label in shift}
    subject = labels.get(row["subject_type"])
    row["subject_id"] += shift.get(subject, 0) if subject else 0
    if row["project_id"] is not None:
        row["project_id"] += shift["tasks.project"]
    if row["undoes"]:
        by = shift["audit.event"]
        row["undoes"] = {str(int(pk) + by): left for pk, left in row["undoes"].items()}
    for name, values in row["changes"].items():
        target = model_of_field(row["subject_type"], name)
        if target is not None:
            by = shift[label_of(target)]
            row["changes"][name] = [_shift_ids(value, by) for value in values]


def _shift_ids(value: object, by: int) -> object:
    """Add `by` to an id, or to every id in a list. Other values stay as they are."""
    if isinstance(value, list):
        return [_shift_ids(item, by) for item in value]
    return value + by if type(value) is int else value


def _insert(model: Any, rows: list[Model]) -> None:
    """Insert the rows as they are, without setting times or other defaults."""
    fields = [f for f in columns_of(model) if not f.generated]
    set_computed(model, rows, {f.name for f in fields})
    size = connection.ops.bulk_batch_size(fields, rows)
    for start in range(0, len(rows), size):
        model._base_manager._insert(
            rows[start : start + size], fields=fields, raw=True, using=connection.alias
        )


# ---- ids ----------------------------------------------------------------------------------------


def _reserve_ids(model: type[Model], spans: dict[str, tuple[int, int]]) -> int:
    """Reserve ids for the rows of a model. Return the number to add to the ids in the file.

    It is 0 if the database has not used any id of the file's range yet.
    """
    if label_of(model) not in spans:
        return 0
    table = model._meta.db_table
    smallest, largest = spans[label_of(model)]
    first = advance_sequence(table, 1)
    if first <= smallest and (
        first == largest or advance_sequence(table, largest - first) == first + 1
    ):
        return 0
    return advance_sequence(table, largest - smallest + 1) - smallest


def _reserve_tenant_id(exported_id: int) -> int:
    """Return the exported id if no tenant of this database ever had it, else the next free id."""
    table = Tenant._meta.db_table
    next_id = advance_sequence(table, 1)
    if next_id < exported_id:
        advance_sequence(table, exported_id - next_id)
    return max(next_id, exported_id)
