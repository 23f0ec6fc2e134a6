"""Change which tasks a task blocks: the same links as `blocked_by` of those tasks."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from taskflow.audit.actor import Actor
from taskflow.audit.recorder import lock_all, serialize_graph_changes
from tasks.changes.planner import change_tasks
from tasks.changes.update import UpdateTask
from tasks.models import Task, TaskBlocker


def change_blocked_tasks(
    actor: Actor, task: Task, *, add: Collection[Task], remove: Collection[Task]
) -> None:
    """Make the task a blocker of the tasks in `add`, and no longer one of those in `remove`.

    The other blockers of these tasks stay. Each change is recorded with the task that is blocked,
    and needs the right to change that task: UpdateTask documents the rules and errors. A constant
    number of statements.
    """
    rows = sorted({*add, *remove}, key=lambda row: row.pk)
    if not rows:
        return
    serialize_graph_changes(actor)
    lock_all(rows)
    blockers = _load_blockers(rows)
    changes = []
    for row in rows:
        present = {blocker.pk: blocker for blocker in blockers[row.pk]}
        present.pop(task.pk, None)
        after = [*present.values(), *([task] if row in add else [])]
        changes.append(UpdateTask(row, {"blocked_by": after}))
    change_tasks(actor, changes)


def _load_blockers(rows: Sequence[Task]) -> dict[int, list[Task]]:
    """Return the blockers of the tasks by id, also those in the trash. One query."""
    blockers: dict[int, list[Task]] = {row.pk: [] for row in rows}
    links = TaskBlocker.objects.filter(task__in=list(blockers)).order_by("pk")
    for link in links.select_related("blocker__project"):
        blockers[link.task_id].append(link.blocker)
    return blockers
