"""What can be deleted by mistake is kept for a while: it lies in the trash, and can come back."""

from __future__ import annotations

from datetime import timedelta
from typing import TypeVar

from django.db import models

from taskflow.tenancy import TenantManager, TenantModel

_M = TypeVar("_M", bound=models.Model)
KEPT = timedelta(days=30)  # in the trash; `manage.py purge` deletes what is older


class LiveManager(TenantManager[_M]):
    """Rows that are not in the trash themselves. What they belong to may be: ask visible_to()."""

    def get_queryset(self) -> models.QuerySet[_M]:
        return super().get_queryset().filter(deleted_at__isnull=True)


class Trashable(TenantModel):
    """Has two managers: `objects`, a LiveManager, and `everything`, the base manager."""

    # Null outside the trash. What was deleted together shares the instant, and returns together.
    deleted_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        abstract = True
