"""Finds rows whose references are broken, as after a restore without constraints."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import models
from django.db.models import Exists, OuterRef

from taskflow.db.columns import columns_of
from taskflow.tenancy.models import TenantFK

MAX_FOUND = 1000  # rows that are returned for each column


def find_broken_references(model: type[models.Model]) -> Iterator[tuple[int, str, int]]:
    """Yield (id of the row, field, id that no row of the current tenant has).

    One query for each foreign key of the model; at most MAX_FOUND rows for each.
    """
    for field in columns_of(model):
        if isinstance(field, TenantFK):
            targets = field.related_model._base_manager.filter(pk=OuterRef(field.attname))
            broken = model._base_manager.filter(
                ~Exists(targets), **{f"{field.name}__isnull": False}
            )
            found = broken.order_by("pk").values_list("pk", field.attname)
            yield from ((pk, field.name, target) for pk, target in found[:MAX_FOUND])


def count_rows_without_tenant(model: type[models.Model]) -> int:
    """Return how many rows belong to a tenant that does not exist. Call it across tenants."""
    (tenants,) = (f.related_model._base_manager for f in columns_of(model) if f.name == "tenant")
    return model._base_manager.filter(~Exists(tenants.filter(pk=OuterRef("tenant_id")))).count()
