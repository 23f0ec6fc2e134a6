"""Many-to-many links. They are rows of tenant-owned tables, and only the recorder writes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import or_
from typing import Any, cast

from django.db.models import Q

from taskflow.tenancy import TenantModel

BATCH = 10_000  # rows per INSERT; SQLite takes fewer


def read_linked_ids(rows: Sequence[TenantModel], name: str) -> dict[int, list[int]]:
    """Return the ids of the linked rows, sorted, by the id of the row. One query."""
    if not rows:
        return {}
    manager, row_column, target_column = _link_table(rows[0], name)
    ids_by_row: dict[int, list[int]] = {}
    links = manager.filter(**{f"{row_column}__in": [row.pk for row in rows]}).order_by(
        target_column
    )
    for row_id, target_id in links.values_list(row_column, target_column):
        ids_by_row.setdefault(row_id, []).append(target_id)
    return ids_by_row


def _link_table(row: TenantModel, name: str) -> tuple[Any, str, str]:
    """Return the manager of the link table, and its columns for the row and for the linked row."""
    field = cast(Any, row._meta.get_field(name))
    if field.auto_created:  # the reverse side of the relation
        field = field.field
        columns = field.m2m_reverse_field_name(), field.m2m_field_name()
    else:
        columns = field.m2m_field_name(), field.m2m_reverse_field_name()
    return field.remote_field.through._default_manager, f"{columns[0]}_id", f"{columns[1]}_id"


def add_links(rows: Sequence[TenantModel], name: str, targets: Iterable[Iterable[int]]) -> None:
    """Link each row to the ids that `targets` has for it, in the same order. One INSERT."""
    manager, row_column, target_column = _link_table(rows[0], name)
    manager.bulk_create(
        [
            manager.model(tenant_id=row.tenant_id, **{row_column: row.pk, target_column: target})
            for row, ids in zip(rows, targets, strict=True)
            for target in ids
        ],
        batch_size=BATCH,
    )


def replace_links(
    rows: Sequence[TenantModel],
    name: str,
    before: dict[int, list[int]],
    after: dict[int, list[int]],
) -> None:
    """Replace the links in `before` by those in `after`; both are ids by row id.

    One DELETE and one INSERT.
    """
    manager, row_column, target_column = _link_table(rows[0], name)
    pairs = [(row, set(before.get(row.pk, [])), set(after.get(row.pk, []))) for row in rows]
    removed = [
        Q((row_column, row.pk), (f"{target_column}__in", sorted(b - a)))
        for row, b, a in pairs
        if b - a
    ]
    if removed:
        manager.filter(reduce(or_, removed)).delete()
    add_links(rows, name, [sorted(a - b) for _, b, a in pairs])
