"""
The number of tasks of each status in a project, without counting the tasks.

Every write inserts a row with the difference that it makes, in its own transaction, and the counts
are the sums of these rows. Rows are inserted, not updated, so that writers of one project never
wait for each other. From time to time a writer merges the rows that no other transaction has
locked.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from random import randrange
from typing import Any

from django.db import models
from django.db.models import Count, OuterRef, Q, Subquery, Sum, Value
from django.db.models.functions import Coalesce

from taskflow.tenancy import TenantModel

STATUSES = ("todo", "in_progress", "done")
MERGE_EVERY = 50  # rows, on average


class TaskCountDelta(TenantModel):
    """The difference that one write made to the task counts of a project, or the sum of several."""

    # No foreign key: its check would wait for a transaction that has locked the project.
    project_id = models.BigIntegerField()
    todo = models.IntegerField(default=0)
    in_progress = models.IntegerField(default=0)
    done = models.IntegerField(default=0)

    class Meta:
        base_manager_name = "objects"
        indexes = [
            models.Index(fields=["tenant", "project_id"], name="task_count_delta_by_project"),
        ]

    def __str__(self) -> str:
        return f"{self.project_id}: {self.todo} {self.in_progress} {self.done}"

    @classmethod
    def record(cls, changes: Iterable[tuple[Any, Mapping[str, list[Any]]]]) -> None:
        """Insert the differences that these changes of tasks, as recorded, make to the counts."""
        added: dict[int, Counter[str]] = defaultdict(Counter)
        for task, fields in _net(changes):
            for side, sign in ((0, -1), (1, 1)):
                at = {
                    name: fields[name][side] if name in fields else getattr(task, name)
                    for name in ("status", "deleted_at")
                }
                project_id = fields["project"][side] if "project" in fields else task.project_id
                if project_id is not None and at["status"] and not at["deleted_at"]:
                    added[project_id][at["status"]] += sign
        rows = [
            cls(project_id=pk, **counts) for pk, counts in added.items() if any(counts.values())
        ]
        if len(rows) == 1:
            cls._default_manager.defer_create(rows[0])
        else:
            cls._default_manager.bulk_create(rows)
        for row in rows:
            if randrange(MERGE_EVERY) == 0:  # noqa: S311 - no secret
                cls.merge(row.project_id)

    @classmethod
    def delete_for_projects(cls, project_ids: Iterable[int]) -> None:
        """Delete the rows of projects that are deleted permanently."""
        cls._default_manager.filter(project_id__in=list(project_ids)).delete()

    @classmethod
    def merge(cls, project_id: int) -> None:
        """Replace the rows that no other transaction has locked by one row with their sum."""
        rows = cls._default_manager.filter(project_id=project_id)
        found = list(rows.select_for_update(skip_locked=True))
        total = {status: sum(getattr(row, status) for row in found) for status in STATUSES}
        merged = cls._default_manager.filter(pk__in=[row.pk for row in found])
        merged._raw_delete(merged.db)  # no row refers to them
        cls._default_manager.bulk_create([cls(project_id=project_id, **total)])

    @classmethod
    def total(cls, status: str) -> Coalesce:
        """The count of an outer query's project."""
        rows = cls._default_manager.filter(project_id=OuterRef("pk")).order_by()
        summed = rows.values("project_id").annotate(n=Sum(status)).values("n")
        return Coalesce(Subquery(summed, output_field=models.IntegerField()), Value(0))

    @classmethod
    def differences(cls, projects: models.QuerySet[Any]) -> list[tuple[Any, dict[str, int]]]:
        """The projects whose kept counts are wrong, each with what is missing, as of one moment."""
        live = Q(tasks__deleted_at__isnull=True)
        counted = projects.annotate(
            **{f"kept_{s}": cls.total(s) for s in STATUSES},
            **{f"real_{s}": Count("tasks", filter=live & Q(tasks__status=s)) for s in STATUSES},
        )
        found = []
        for row in counted.order_by("pk"):
            missing = {s: getattr(row, f"real_{s}") - getattr(row, f"kept_{s}") for s in STATUSES}
            if any(missing.values()):
                found.append((row, missing))
        return found

    @classmethod
    def repair(cls, projects: models.QuerySet[Any]) -> int:
        """Insert what the counts lack. Return the number of projects that were wrong.

        Correct also while others write: their tasks and their rows here are committed together.
        """
        missing = cls.differences(projects)
        cls._default_manager.bulk_create([cls(project_id=p.pk, **counts) for p, counts in missing])
        return len(missing)


def _net(
    changes: Iterable[tuple[Any, Mapping[str, list[Any]]]],
) -> Iterable[tuple[Any, dict[str, list[Any]]]]:
    """Yield each task once, with the first value before and the last value after of each field."""
    fields: dict[int, dict[str, list[Any]]] = {}
    tasks = {}
    for task, changed in changes:
        tasks[task.pk] = task
        known = fields.setdefault(task.pk, {})
        for name, (before, after) in changed.items():
            known[name] = [known[name][0] if name in known else before, after]
    return [(tasks[pk], found) for pk, found in fields.items()]
