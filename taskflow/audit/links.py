"""Many-to-many links. They are rows of tenant-owned tables, and only the recorder writes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

from django.db.models import QuerySet

from taskflow.db.many_rows import delete_pairs, discard_plans, insert_pairs
from taskflow.db.query import QueryCache
from taskflow.db.statements import IdArray, IsInIds
from taskflow.tenancy import TenantModel, with_tenant_parameter

BATCH = 10_000  # rows per INSERT; SQLite takes fewer
LINK_BATCH = 2000  # links per INSERT: PostgreSQL checks two foreign keys for each of them


def read_linked_ids(rows: Sequence[TenantModel], name: str) -> dict[int, list[int]]:
    """Return the ids of the linked rows, sorted, by the id of the row. One query."""
    if not rows:
        return {}
    manager, *columns = _link_table(rows[0], name)
    ids_by_row: dict[int, list[int]] = {}
    links = LINKS_QUERY.fetch((manager, *columns), IdArray(tuple(row.pk for row in rows)))
    for row_id, target_id in links:
        ids_by_row.setdefault(row_id, []).append(target_id)
    # Not by the database: SQLite would read all links of the tenant in the order of an index.
    return {row_id: sorted(ids) for row_id, ids in ids_by_row.items()}


@with_tenant_parameter
def _select_links(
    manager: Any, row_column: str, target_column: str, row_ids: IdArray
) -> QuerySet[Any, tuple[int, int]]:
    links = manager.filter(IsInIds(row_column, row_ids)).order_by()
    selected: QuerySet[Any, tuple[int, int]] = links.values_list(row_column, target_column)
    return selected


LINKS_QUERY: QueryCache[Any] = QueryCache(_select_links)


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
    """Link each row to the ids that `targets` has for it, in the same order.

    One INSERT for every LINK_BATCH links.
    """
    manager, *columns = _link_table(rows[0], name)
    pairs = [(row.pk, pk) for row, ids in zip(rows, targets, strict=True) for pk in ids]
    if len(pairs) > LINK_BATCH:
        discard_plans()
    for start in range(0, len(pairs), LINK_BATCH):
        batch = pairs[start : start + LINK_BATCH]
        insert_pairs(manager.model, (columns[0], columns[1]), _tenant_of(rows), batch)


def replace_links(
    rows: Sequence[TenantModel],
    name: str,
    before: dict[int, list[int]],
    after: dict[int, list[int]],
) -> None:
    """Replace the links in `before` by those in `after`; both are ids by row id.

    One DELETE, and one INSERT for every LINK_BATCH links.
    """
    manager, *columns = _link_table(rows[0], name)
    pairs = [(row, set(before.get(row.pk, [])), set(after.get(row.pk, []))) for row in rows]
    removed = [(row.pk, pk) for row, b, a in pairs for pk in sorted(b - a)]
    if removed:
        delete_pairs(manager.model, (columns[0], columns[1]), _tenant_of(rows), removed)
    add_links(rows, name, [sorted(a - b) for _, b, a in pairs])


def _tenant_of(rows: Sequence[TenantModel]) -> tuple[str, int]:
    """Return the column of the tenant, and the id of the tenant that all rows belong to."""
    return "tenant_id", cast(int, rows[0].tenant_id)
