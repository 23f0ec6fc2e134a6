"""The changes of a task, as functions for one task. For sets see create.py and planner.py."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

from accounts.models import User
from taskflow.audit.actor import Actor
from taskflow.audit.recorder import lock
from taskflow.audit.verbs import register_event_verb
from taskflow.http.errors import Conflict, Invalid
from tasks.changes.assign import AssignTask, UnassignTask
from tasks.changes.base import TaskChange
from tasks.changes.complete import CompleteTask
from tasks.changes.create import CreateTask, create_tasks
from tasks.changes.delete import DeleteTask
from tasks.changes.move import MoveTask
from tasks.changes.planner import change_tasks
from tasks.changes.reopen import ReopenTask
from tasks.changes.restore import RestoreTask
from tasks.changes.tag import TagTask, UntagTask
from tasks.changes.update import UpdateTask
from tasks.models import Project, Task
from tasks.rules import require_member

# Every verb of a task that exists already. A verb is added here, and in its own module.
TASK_CHANGES: list[type[TaskChange]] = [
    UpdateTask,
    CompleteTask,
    ReopenTask,
    AssignTask,
    UnassignTask,
    MoveTask,
    TagTask,
    UntagTask,
    DeleteTask,
    RestoreTask,
]
OPERATIONS = {change.operation: change for change in TASK_CHANGES if change.operation}
for _change in TASK_CHANGES:
    if _change.sentence:
        register_event_verb("task", _change.event, _change.sentence, inverse=_change.inverse)


def create_task(
    actor: Actor,
    project: Project,
    *,
    title: str,
    parent: Task | None = None,
    tags: Sequence[str] = (),
    blocked_by: Sequence[Task] = (),
    **values: Any,
) -> Task:
    """Add a task with the project's next number. Tags that do not exist yet are created."""
    new = CreateTask(project, title, values, parent, tags, blocked_by)
    return create_tasks(actor, [new])[0]


def update_task(actor: Actor, task: Task, *, force: bool = False, **values: Any) -> Task:
    """Set the given fields and no others: see UpdateTask."""
    change_tasks(actor, [UpdateTask.build(task, values, force=force)])
    return task


def upsert_task(
    actor: Actor, project: Project, external_ref: str, **values: Any
) -> tuple[Task, bool]:
    """Create or update the project's task with this external_ref. Return it, and whether it is new.

    Raises Conflict when it is in the trash, Invalid when a new one has no title.
    """
    require_member(actor, project)
    lock(project)  # otherwise two requests at once would both find no task
    rows = Task.everything.filter(project=project, external_ref=external_ref)
    task = rows.select_related("project", "assignee").first()
    if task is None:
        if "title" not in values:
            raise Invalid.field("title", "A new task needs a title.", "missing")
        return create_task(actor, project, external_ref=external_ref, **values), True
    if task.deleted_at:
        raise Conflict(f"{task.key} has this external_ref and is in the trash. Restore it first.")
    return update_task(actor, task, **values), False


def complete_task(actor: Actor, task: Task, *, force: bool = False) -> Task:
    """See CompleteTask."""
    change_tasks(actor, [CompleteTask(task, force=force)])
    return task


def reopen_task(actor: Actor, task: Task) -> Task:
    """See ReopenTask."""
    change_tasks(actor, [ReopenTask(task)])
    return task


def assign_task(actor: Actor, task: Task, assignee: User | None) -> Task:
    """See AssignTask; None takes the task from its assignee."""
    change_tasks(actor, [AssignTask(task, assignee) if assignee else UnassignTask(task)])
    return task


def move_task(actor: Actor, task: Task, project: Project) -> Task:
    """See MoveTask."""
    change_tasks(actor, [MoveTask(task, project)])
    return task


def delete_task(actor: Actor, task: Task) -> None:
    """See DeleteTask."""
    change_tasks(actor, [DeleteTask(task)])


def restore_task(actor: Actor, task: Task) -> None:
    """See RestoreTask. The given object keeps its deleted_at, for the response."""
    change_tasks(actor, [RestoreTask(copy(task))])
