"""Many-to-many links, which are rows of tables that belong to the tenant. For the recorder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from operator import or_
from typing import Any, cast

from django.db.models import Q

from taskflow.tenancy import TenantModel

BATCH = 10_000  # rows per INSERT; SQLite takes fewer


def read_linked_ids(rows: Sequence[TenantModel], name: str) -> dict[int, list[int]]:
    """Return the ids that each row is linked to, in order, by the id of the row. One query."""
    if not rows:
        return {}
    manager, here, there = _through(rows[0], name)
    found: dict[int, list[int]] = {}
    links = manager.filter(**{f"{here}__in": [row.pk for row in rows]}).order_by(there)
    for row_id, target_id in links.values_list(here, there):
        found.setdefault(row_id, []).append(target_id)
    return found


def _through(row: TenantModel, name: str) -> tuple[Any, str, str]:
    """The manager of the linking table, and its columns for the row and for the linked row."""
    field = cast(Any, row._meta.get_field(name))
    if field.auto_created:  # the reverse side of the relation
        field = field.field
        ends = field.m2m_reverse_field_name(), field.m2m_field_name()
    else:
        ends = field.m2m_field_name(), field.m2m_reverse_field_name()
    return field.remote_field.through._default_manager, f"{ends[0]}_id", f"{ends[1]}_id"


def link(rows: Sequence[TenantModel], name: str, targets: Iterable[Iterable[int]]) -> None:
    """Link each row to its targets, with one INSERT."""
    manager, here, there = _through(rows[0], name)
    manager.bulk_create(
        [
            manager.model(tenant_id=row.tenant_id, **{here: row.pk, there: target})
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
    """Give each row the links of `after`, with one DELETE and one INSERT."""
    manager, here, there = _through(rows[0], name)
    pairs = [(row, set(before.get(row.pk, [])), set(after.get(row.pk, []))) for row in rows]
    gone = [Q((here, row.pk), (f"{there}__in", sorted(b - a))) for row, b, a in pairs if b - a]
    if gone:
        manager.filter(reduce(or_, gone)).delete()
    link(rows, name, [sorted(a - b) for _, b, a in pairs])
