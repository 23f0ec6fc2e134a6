"""Check and correct columns that are computed from others, after the computation has changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from taskflow.db.computed import computed_fields, set_computed, wrong_values

BATCH = 2_000  # rows that are read, and locked if they are corrected, at a time


def find_wrong_columns(model: Any) -> Iterator[tuple[int, str]]:
    """Yield (id of the row, computed column) for each wrong value in the current tenant."""
    for chunk in _read_chunks(model, lock=False):
        yield from ((row.pk, name) for row in chunk for name in wrong_values(row))


def count_wrong_rows(model: Any) -> int:
    """Return the number of rows of the current tenant with a wrong value in a computed column."""
    return len({pk for pk, _ in find_wrong_columns(model)})


def repair_rows(model: Any) -> int:
    """Correct the computed columns of the current tenant's rows. Return how many were wrong.

    The rows are locked. They get no new version, since no request reads these columns.
    """
    sources, count = {field.source for field in computed_fields(model)}, 0
    for chunk in _read_chunks(model, lock=True):
        wrong = [row for row in chunk if any(wrong_values(row))]
        count += len(wrong)
        if wrong:
            names = sorted(set_computed(model, wrong, sources))
            model._base_manager.bulk_update(wrong, names, batch_size=500)
    return count


def _read_chunks(model: Any, *, lock: bool) -> Iterator[list[Any]]:
    """Yield the rows of the current tenant with what their computed columns need."""
    fields = computed_fields(model)
    names = {field.source for field in fields} | {field.name for field in fields}
    rows = model._base_manager.order_by("pk").only("tenant", *sorted(names))
    if lock:
        rows = rows.select_for_update(no_key=True)
    chunk = list(rows[:BATCH])
    while chunk:
        yield chunk
        chunk = list(rows.filter(pk__gt=chunk[-1].pk)[:BATCH]) if len(chunk) == BATCH else []
