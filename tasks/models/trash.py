"""The trash: deleted rows stay in the database for 30 days and can be restored."""

from __future__ import annotations

from datetime import timedelta
from typing import TypeVar

from django.db import models

from taskflow.tenancy import TenantManager, TenantModel

_M = TypeVar("_M", bound=models.Model)
TRASH_RETENTION = timedelta(days=30)  # `manage.py purge` deletes rows that were deleted earlier


class LiveManager(TenantManager[_M]):
    """Leaves out rows that are in the trash. It includes rows whose project or task is in the
    trash, which only visible_to() leaves out.
    """

    def get_queryset(self) -> models.QuerySet[_M]:
        return super().get_queryset().filter(deleted_at__isnull=True)


class Trashable(TenantModel):
    """A model with a trash. It has two managers: `objects`, a LiveManager without the trash, and
    `everything`, the base manager, with it.
    """

    # Null for rows outside the trash. Rows that were deleted together have the same time, so that
    # they can be restored together.
    deleted_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        abstract = True
