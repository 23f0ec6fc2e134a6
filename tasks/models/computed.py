"""Check and correct columns that are computed from others, after the computation has changed."""

from __future__ import annotations

from typing import Any

from taskflow.db.computed import computed_fields, set_computed, wrong_values

BATCH = 2_000  # rows that are read, and locked if they are corrected, at a time


def count_wrong_rows(model: Any) -> int:
    """Return the number of rows of the current tenant with a wrong value in a computed column."""
    return _check_rows(model, repair=False)


def repair_rows(model: Any) -> int:
    """Correct the computed columns of the current tenant's rows. Return how many were wrong.

    The rows are locked. They get no new version, since no request reads these columns.
    """
    return _check_rows(model, repair=True)


def _check_rows(model: Any, *, repair: bool) -> int:
    fields = computed_fields(model)
    sources = {field.source for field in fields}
    rows = model._base_manager.order_by("pk").only("tenant", *sources, *(f.name for f in fields))
    count = 0
    while True:
        chunk = list((rows.select_for_update(no_key=True) if repair else rows)[:BATCH])
        wrong = [row for row in chunk if any(wrong_values(row))]
        count += len(wrong)
        if wrong and repair:
            names = sorted(set_computed(model, wrong, sources))
            model._base_manager.bulk_update(wrong, names, batch_size=500)
        if len(chunk) < BATCH:
            return count
        rows = rows.filter(pk__gt=chunk[-1].pk)
