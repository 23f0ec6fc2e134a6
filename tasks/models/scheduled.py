"""When each timed task has to run, and which process runs it now."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from datetime import datetime, timedelta

from django.db import models
from django.db.models import Q
from django.utils import timezone


class ScheduledRun(models.Model):
    """The state of one timed task, such as the purge of the trash. One row for each task.

    It belongs to no tenant. The names are those of tasks/scheduled/registry.py. A process that
    runs the task has the lease until `leased_until`. If it is killed, another one runs the task
    after that time.
    """

    name = models.CharField(max_length=40, primary_key=True)
    due_at = models.DateTimeField(default=timezone.now)
    lease = models.CharField(max_length=32, blank=True)  # of the process that runs the task
    leased_until = models.DateTimeField(null=True)
    succeeded_at = models.DateTimeField(null=True)
    failures = models.PositiveIntegerField(default=0)  # in a row

    def __str__(self) -> str:
        return self.name

    @classmethod
    def find_due(cls, names: Collection[str], now: datetime) -> list[str]:
        """Return those of the tasks that are due and not leased, in the given order.

        One statement. A task that has no row yet is due: then its row is inserted.
        """
        rows = {row.name: row for row in cls._default_manager.filter(name__in=names)}
        if missing := [name for name in names if name not in rows]:
            new = [cls(name=name, due_at=now) for name in missing]
            cls._default_manager.bulk_create(new, ignore_conflicts=True)
            rows |= {row.name: row for row in new}
        return [name for name in names if rows[name].can_begin(now)]

    def can_begin(self, now: datetime) -> bool:
        """Return whether the task is due, and no process has the lease."""
        return self.due_at <= now and (self.leased_until is None or self.leased_until <= now)

    @classmethod
    def take_lease(cls, name: str, now: datetime, duration: timedelta) -> str | None:
        """Take the lease of a task. Return it, or None if another process was faster."""
        lease = secrets.token_hex(16)
        is_free = Q(leased_until__isnull=True) | Q(leased_until__lte=now)
        rows = cls._default_manager.filter(is_free, name=name, due_at__lte=now)
        return lease if rows.update(lease=lease, leased_until=now + duration) else None

    @classmethod
    def extend_lease(cls, lease: str, until: datetime) -> bool:
        """Keep the lease until that time. Return False if another process has the task now."""
        return bool(cls._default_manager.filter(lease=lease).update(leased_until=until))

    @classmethod
    def make_due(cls, name: str) -> None:
        """Let the task be run at once, unless it runs already."""
        cls._default_manager.filter(name=name).update(due_at=timezone.now())

    @classmethod
    def give_back(cls, lease: str) -> None:
        """End the lease of a task that was interrupted. It stays due."""
        cls._default_manager.filter(lease=lease).update(leased_until=None)

    @classmethod
    def finish(cls, lease: str, due_at: datetime, succeeded_at: datetime | None) -> None:
        """Give the lease back. `succeeded_at` is None after a failure."""
        rows = cls._default_manager.filter(lease=lease)
        if succeeded_at is None:
            rows.update(due_at=due_at, leased_until=None, failures=models.F("failures") + 1)
        else:
            rows.update(due_at=due_at, leased_until=None, succeeded_at=succeeded_at, failures=0)
