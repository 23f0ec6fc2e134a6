"""The trash: rows that are deleted by mistake can be restored for 30 days."""

from __future__ import annotations

from datetime import timedelta
from typing import TypeVar

from django.db import models

from taskflow.tenancy import TenantManager, TenantModel

_M = TypeVar("_M", bound=models.Model)
TRASH_RETENTION = timedelta(days=30)  # `manage.py purge` deletes older rows


class LiveManager(TenantManager[_M]):
    """Rows that are not in the trash themselves. The row that they belong to may be: visible_to()
    leaves those out.
    """

    def get_queryset(self) -> models.QuerySet[_M]:
        return super().get_queryset().filter(deleted_at__isnull=True)


class Trashable(TenantModel):
    """A model with a trash. It has two managers: `objects`, a LiveManager, and `everything`, which
    includes the trash and is the base manager.
    """

    # Null outside the trash. Rows that were deleted together have the same time, by which they are
    # restored together.
    deleted_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        abstract = True
