"""The numbers that tasks had before they were moved to another project."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from django.db import models

from taskflow.tenancy import TenantFK, TenantModel
from tasks.models.projects import Project
from tasks.models.tasks import Task


class FormerNumber(TenantModel):
    """The number of a task before it was moved to another project. The old key still finds it."""

    project = TenantFK(Project, models.CASCADE, related_name="+")
    number = models.PositiveIntegerField()
    task = TenantFK(Task, models.CASCADE, related_name="former_numbers")

    class Meta:
        base_manager_name = "objects"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "project", "number"], name="former_number_key"
            ),
        ]
        indexes = [
            models.Index(fields=["tenant", "task"], name="former_number_by_task"),
        ]

    @classmethod
    def delete_reused(cls, tasks: Iterable[Task]) -> None:
        """Delete the former numbers that these tasks have again, after being moved back.

        Two statements per project.
        """
        numbers: dict[int, list[int]] = defaultdict(list)
        for task in tasks:
            numbers[task.project_id].append(task.number)
        for project_id, reused in sorted(numbers.items()):
            cls._default_manager.filter(project=project_id, number__in=sorted(reused)).delete()

    @classmethod
    def store(cls, former: Iterable[tuple[Task, int, int]]) -> None:
        """Store the former numbers of moved tasks, each as (task, former project id, number)."""
        cls._default_manager.bulk_create(
            [cls(task=task, project_id=project, number=number) for task, project, number in former]
        )
