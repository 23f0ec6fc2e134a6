"""Which tasks have become overdue. A task that is due on a day is overdue when the tenant's day has
ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta

from django.db.models import F, Q, QuerySet

from accounts.models import Tenant
from tasks.models import ProjectStatus, Status, Task


def due_time(tenant: Tenant, task: Task) -> datetime | None:
    """Return the time from which the task is overdue if it is open; None if it has no due date."""
    if task.due_on is not None:
        return tenant.start_of(task.due_on + timedelta(days=1))
    due_date: datetime | None = task.due_date
    return due_date


def find_overdue(tenant: Tenant, since: datetime, until: datetime) -> Iterator[Task]:
    """Yield the assigned open tasks that have become overdue after `since` and up to `until`.

    Without tasks in the trash, and without those of archived or deleted projects. Two statements,
    each of which reads an index.
    """
    yield from select_due_dates(since, until)
    first, last = tenant.day_of(since), tenant.day_of(until)
    if first < last:
        yield from select_due_days(first, last)


def select_due_dates(since: datetime | F, until: datetime) -> QuerySet[Task]:
    """Return the assigned open tasks with a time that is after `since` and up to `until`."""
    return _select().filter(due_date__gt=since, due_date__lte=until)


def select_due_days(first: date | F, last: date) -> QuerySet[Task]:
    """Return the assigned open tasks that are due from the first day to the day before `last`."""
    return _select().filter(due_on__gte=first, due_on__lt=last)


def is_workable(task: Task) -> bool:
    """Return whether somebody should still do the task. Load it with its project."""
    project = task.project
    is_open = task.status != Status.DONE and task.deleted_at is None
    return is_open and project.deleted_at is None and project.status != ProjectStatus.ARCHIVED


def _select() -> QuerySet[Task]:
    rows: QuerySet[Task] = Task.objects.open().filter(
        ~Q(project__status=ProjectStatus.ARCHIVED),
        assignee__isnull=False,
        project__deleted_at__isnull=True,
    )
    return rows.only("tenant", "assignee", "due_date", "due_on")
