"""The numbers of new tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from itertools import count

from taskflow.audit.recorder import lock_all
from taskflow.http.errors import Invalid
from tasks.models import Project, Task


class NewNumbers:
    """Checks the numbers that new tasks keep. Only an import gives a task a number of its own.

    Locks the projects, since their last numbers must not change until the tasks are stored.
    """

    def __init__(self, projects: Iterable[Project]) -> None:
        rows = {project.pk: project for project in projects}
        lock_all(list(rows.values()), "last_number")
        self.last = {pk: project.last_number for pk, project in rows.items()}
        self.kept: set[tuple[int, int]] = set()  # of new tasks so far: (project id, number)

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
    new = [task for task in tasks if task.number is None]
    kept: dict[int, int] = {}  # by project: how far the kept numbers are above the last one
    for task in tasks:
        if task.number is not None:
            above = task.number - task.project.last_number
            kept[task.project_id] = max(kept.get(task.project_id, 0), above)
    counts = Counter([task.project_id for task in new])
    if kept:
        counts += Counter(kept)
    if counts:
        firsts = Project.reserve_numbers(counts)
        numbers = {pk: count(first + kept.get(pk, 0)) for pk, first in firsts.items()}
        for task in new:
            task.number = next(numbers[task.project_id])
