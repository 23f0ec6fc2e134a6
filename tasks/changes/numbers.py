"""The numbers of new tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from itertools import count

from taskflow.audit.recorder import lock_all
from taskflow.http.errors import Invalid
from tasks.models import Project, Task


class NewNumbers:
    """Checks the numbers that new tasks keep. Only an import gives a task a number of its own."""

    def __init__(self) -> None:
        self.last: dict[int, int] = {}  # the last number of a project, by the project's id
        self.kept: set[tuple[int, int]] = set()  # of new tasks so far: (project id, number)

    def lock(self, projects: Iterable[Project]) -> None:
        """Lock the projects and refresh their last numbers. Must be called before check()."""
        rows = {project.pk: project for project in projects}
        lock_all(list(rows.values()), "last_number")
        self.last = {pk: project.last_number for pk, project in rows.items()}

    def check(self, task: Task) -> None:
        """Raise Invalid if a new task has a number that another task of the project has or had.

        Only numbers above the last one are free for certain: a key names the same task for ever.
        """
        if task.number is None:
            return
        last = self.last[task.project_id]
        if task.number <= last:
            raise Invalid.field(
                "key",
                f"The number cannot be kept: the project has used numbers up to {last}.",
                "taken",
            )
        if (task.project_id, task.number) in self.kept:
            raise Invalid.field("key", "Another row has this number too.", "repeated")
        self.kept.add((task.project_id, task.number))


def set_numbers(tasks: Collection[Task]) -> None:
    """Give each task the next number of its project, unless it has one that an import keeps.

    Kept numbers are greater than the last one of the project, and the next numbers follow them.
    """
    counts = Counter(task.project_id for task in tasks if task.number is None)
    kept: Counter[int] = Counter()  # by project: how far the kept numbers are above the last one
    for task in tasks:
        if task.number is not None:
            above = task.number - task.project.last_number
            kept[task.project_id] = max(kept[task.project_id], above)
    if not (counts or kept):
        return
    firsts = Project.reserve_numbers(counts + kept)
    numbers = {pk: count(first + kept[pk]) for pk, first in firsts.items()}
    for task in tasks:
        if task.number is None:
            task.number = next(numbers[task.project_id])
