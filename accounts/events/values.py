"""Values of rows as the log has them: JSON."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, cast

from django.db import models

from accounts.tenancy import TenantModel

UNRECORDED = {"id", "tenant", "created_at", "updated_at", "version"}


def as_recorded(value: Any) -> Any:
    """As JSON: a row by its id, links by theirs."""
    if isinstance(value, models.Model):
        return value.pk
    if isinstance(value, models.QuerySet):
        return sorted(row.pk for row in value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    return value


def differing(before: dict[str, Any], after: dict[str, Any]) -> dict[str, list[Any]]:
    return {n: [before[n], after[n]] for n in after if not _is_same(before[n], after[n])}


def _is_same(before: Any, after: Any) -> bool:
    """As JSON has it, where true is not 1: Python alone would drop such a change."""
    if isinstance(before, dict) and isinstance(after, dict):
        return before.keys() == after.keys() and all(_is_same(before[k], after[k]) for k in before)
    if isinstance(before, list) and isinstance(after, list):
        return len(before) == len(after) and all(map(_is_same, before, after))
    return bool(before == after) and isinstance(before, bool) == isinstance(after, bool)


def snapshot(row: TenantModel) -> dict[str, Any]:
    """All that says something, as JSON."""
    names = [
        f.name
        for f in row._meta.concrete_fields
        if f.name not in UNRECORDED | row.unrecorded and not f.generated
    ]
    values = {n: as_recorded(value_of(row, n)) for n in names}
    return {n: v for n, v in values.items() if v not in (None, "", {}, [])}


def value_of(row: models.Model, name: str) -> Any:
    return getattr(row, attname_of(type(row), name))


def attname_of(model: type[models.Model], name: str) -> str:
    return str(cast(Any, model._meta.get_field(name)).attname)
