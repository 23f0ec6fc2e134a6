"""
The number of tasks of each status in a project, computed without counting the tasks.

Done tasks are counted by outcome: `done` is the number of completed tasks, and `cancelled` that of
cancelled ones.

Every write inserts a row with the difference that it makes to the counts, in its own transaction.
The counts of a project are the sums of its rows. Rows are inserted and never updated, so that
writers of one project do not wait for each other. About every fiftieth insert also merges the rows
of the project that no other transaction has locked.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from random import randrange
from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models import Aggregate, Count, OuterRef, Q, Subquery, Sum, Value
from django.db.models.functions import Coalesce

from taskflow.db.rows import build
from taskflow.tenancy import Changes, TenantModel

if TYPE_CHECKING:
    from tasks.models.projects import Project
    from tasks.models.tasks import Task

COUNTS = ("todo", "in_progress", "done", "cancelled")
NO_TASKS = dict.fromkeys(COUNTS, 0)
# The fields of a task that say in which count it is, with their attributes.
COUNTED_BY = {
    "project": "project_id",
    "status": "status",
    "outcome": "outcome",
    "deleted_at": "deleted_at",
}
CANCELLED = "cancelled"  # the count, and the outcome of the tasks that it counts
MERGE_EVERY = 50  # inserted rows, on average


class TaskCountDelta(TenantModel):
    """The difference that one write made to the task counts of a project, or the sum of several."""

    # Not a foreign key: its check would wait for any transaction that has locked the project.
    project_id = models.BigIntegerField()
    todo = models.IntegerField(default=0)
    in_progress = models.IntegerField(default=0)
    done = models.IntegerField(default=0)  # completed tasks
    cancelled = models.IntegerField(default=0)

    class Meta:
        base_manager_name = "objects"
        indexes = [
            models.Index(fields=["tenant", "project_id"], name="task_count_delta_by_project"),
        ]

    def __str__(self) -> str:
        return f"{self.project_id}: {' '.join(str(getattr(self, name)) for name in COUNTS)}"

    @classmethod
    def record(cls, changes: Iterable[tuple[Task, Changes]]) -> None:
        """Insert the differences that changes of tasks make to the counts of their projects.

        Each change is a task and its recorded changes, `{field: [before, after]}`.
        """
        changes = [(task, fields) for task, fields in changes if fields.keys() & COUNTED_BY.keys()]
        if not changes:
            return
        added: dict[int, Counter[str]] = defaultdict(Counter)
        for task, fields in _merge_changes(changes):
            for side, sign in ((0, -1), (1, 1)):
                project_id, status, outcome, deleted_at = [
                    fields[name][side] if name in fields else getattr(task, attname)
                    for name, attname in COUNTED_BY.items()
                ]
                if project_id is not None and status and not deleted_at:
                    added[project_id][_count_of(status, outcome)] += sign
        tenant_id = changes[0][0].tenant_id
        rows: list[dict[str, Any]] = [
            {"tenant_id": tenant_id, "project_id": pk, **NO_TASKS, **counts}
            for pk, counts in added.items()
            if any(counts.values())
        ]
        if len(rows) == 1:
            cls._default_manager.defer_insert(rows[0])
        else:
            cls._default_manager.bulk_create([build(cls, values) for values in rows])
        for values in rows:
            if randrange(MERGE_EVERY) == 0:  # noqa: S311 - no secret
                cls.merge(values["project_id"])

    @classmethod
    def delete_for_projects(cls, project_ids: Iterable[int]) -> None:
        """Delete the rows of projects that are deleted permanently."""
        cls._default_manager.filter(project_id__in=list(project_ids)).delete()

    @classmethod
    def merge(cls, project_id: int) -> None:
        """Replace the rows that no other transaction has locked by one row with their sum."""
        rows = cls._default_manager.filter(project_id=project_id)
        locked = list(rows.select_for_update(skip_locked=True))
        total = {name: sum(getattr(row, name) for row in locked) for name in COUNTS}
        merged = cls._default_manager.filter(pk__in=[row.pk for row in locked])
        merged._raw_delete(
            merged.db
        )  # nothing refers to these rows, so nothing has to be collected first
        cls._default_manager.bulk_create([cls(project_id=project_id, **total)])

    @classmethod
    def total(cls, name: str) -> Coalesce:
        """Return one of COUNTS as an expression, for a query of projects."""
        rows = cls._default_manager.filter(project_id=OuterRef("pk")).order_by()
        return _per_project(rows, Sum(name))

    @classmethod
    def count_tasks(cls, projects: models.QuerySet[Project]) -> int:
        """Return the number of tasks of these projects that are not in the trash. One query."""
        rows = cls._default_manager.filter(project_id__in=projects.order_by().values("pk"))
        return sum(total or 0 for total in rows.aggregate(*map(Sum, COUNTS)).values())

    @classmethod
    def find_wrong_counts(
        cls, projects: models.QuerySet[Project]
    ) -> list[tuple[Project, dict[str, int]]]:
        """Return the projects whose stored counts are wrong, each with what has to be added to
        each count.

        One statement reads both counts, so that writes at the same time make no difference. Both
        are subqueries: with a join, the database would add up the stored counts for each task.
        """
        tasks = projects.model._meta.get_field("tasks").related_model._base_manager
        present = tasks.filter(project=OuterRef("pk"), deleted_at=None).order_by()
        counted = projects.annotate(
            **{f"stored_{name}": cls.total(name) for name in COUNTS},
            **{
                f"counted_{name}": _per_project(present.filter(_is_counted_as(name)), Count("*"))
                for name in COUNTS
            },
        )
        wrong = []
        for row in counted.order_by("pk"):
            missing = {
                name: getattr(row, f"counted_{name}") - getattr(row, f"stored_{name}")
                for name in COUNTS
            }
            if any(missing.values()):
                wrong.append((row, missing))
        return wrong

    @classmethod
    def repair(cls, projects: models.QuerySet[Project]) -> int:
        """Correct wrong counts. Return the number of projects whose counts were wrong.

        May run while others write: a writer commits its tasks and its differences together.
        """
        wrong = cls.find_wrong_counts(projects)
        cls._default_manager.bulk_create([cls(project_id=p.pk, **counts) for p, counts in wrong])
        return len(wrong)


def _count_of(status: str, outcome: str | None) -> str:
    """Return the name of the count that contains a task with this status and outcome."""
    return CANCELLED if outcome == CANCELLED else status


def _is_counted_as(name: str) -> Q:
    """Return the condition that a task is in this count."""
    if name == CANCELLED:
        return Q(outcome=CANCELLED)
    return Q(status=name) & (Q(outcome="completed") | Q(outcome__isnull=True))


def _per_project(rows: models.QuerySet[Any], total: Aggregate) -> Coalesce:
    """Return an aggregate of the rows of each project as an expression, 0 if it has none."""
    totals = rows.values("project_id").annotate(n=total).values("n")
    return Coalesce(Subquery(totals, output_field=models.IntegerField()), Value(0))


def _merge_changes(
    changes: Iterable[tuple[Task, Changes]],
) -> Iterable[tuple[Task, Changes]]:
    """Return each task once, with the value of each field before its first and after its last
    change.
    """
    merged: dict[int, dict[str, list[object]]] = {}
    tasks = {}
    for task, changed in changes:
        tasks[task.pk] = task
        fields = merged.setdefault(task.pk, {})
        for name, (before, after) in changed.items():
            fields[name] = [fields[name][0] if name in fields else before, after]
    return [(tasks[pk], fields) for pk, fields in merged.items()]
