"""Functions that change one task. create.py and planner.py change many tasks at once."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

from django.utils.translation import gettext

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

# All verbs of existing tasks. A new verb needs a module of its own and an entry here.
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
        for _verb, _sentence in {
            _change.event: _change.sentence,
            **_change.other_sentences,
        }.items():
            register_event_verb(
                "task",
                _verb,
                _sentence,
                inverse=_change.inverse,
                inverses_by_value=_change.inverses_by_value,
            )


def create_task(
    actor: Actor,
    project: Project,
    *,
    title: str,
    parent: Task | None = None,
    tags: Sequence[str] = (),
    blocked_by: Sequence[Task] = (),
    force: bool = False,
    **values: Any,
) -> Task:
    """Create a task with the next number of the project. Tags that do not exist are created.

    `force` allows an open task below a done parent. Raises Forbidden, Invalid or Conflict if the
    project, the assignee, the parent, a blocker or external_ref is not allowed.
    """
    new = CreateTask(project, title, values, parent, tags, blocked_by, force)
    return create_tasks(actor, [new])[0]


def update_task(actor: Actor, task: Task, *, force: bool = False, **values: Any) -> Task:
    """Set the given fields. UpdateTask documents the rules and errors."""
    change_tasks(actor, [UpdateTask.build(task, values, force=force)])
    return task


def upsert_task(
    actor: Actor, project: Project, external_ref: str, **values: Any
) -> tuple[Task, bool]:
    """Create or update the task of the project with this external_ref.

    Return the task, and whether it was created. Raises Conflict if the task is in the trash, and
    Invalid if a new task has no title.
    """
    require_member(actor, project)
    lock(project)  # otherwise two requests at once could both find no task, and create two
    rows = Task.everything.filter(project=project, external_ref=external_ref)
    task = rows.select_related("project", "assignee").first()
    if task is None:
        if "title" not in values:
            raise Invalid.field("title", "A new task needs a title.", "missing")
        return create_task(actor, project, external_ref=external_ref, **values), True
    if task.deleted_at:
        raise Conflict(
            gettext("%(key)s has this external_ref and is in the trash. Restore it first.")
            % {"key": task.key}
        )
    return update_task(actor, task, **values), False


def complete_task(
    actor: Actor, task: Task, *, outcome: str | None = None, force: bool = False
) -> Task:
    """Set a task to done. CompleteTask documents the outcome, the rules and the errors."""
    change_tasks(actor, [CompleteTask(task, outcome=outcome, force=force)])
    return task


def reopen_task(actor: Actor, task: Task, *, force: bool = False) -> Task:
    """Reopen a task. ReopenTask documents the rules and errors."""
    change_tasks(actor, [ReopenTask(task, force=force)])
    return task


def assign_task(actor: Actor, task: Task, assignee: User | None) -> Task:
    """Assign a task to a user, or unassign it if `assignee` is None. See AssignTask."""
    change_tasks(actor, [AssignTask(task, assignee) if assignee else UnassignTask(task)])
    return task


def move_task(actor: Actor, task: Task, project: Project) -> Task:
    """Move a task with its subtasks to another project. MoveTask documents the rules."""
    change_tasks(actor, [MoveTask(task, project)])
    return task


def delete_task(actor: Actor, task: Task) -> None:
    """Move a task and its subtasks to the trash."""
    change_tasks(actor, [DeleteTask(task)])


def restore_task(actor: Actor, task: Task, *, force: bool = False) -> None:
    """Restore a task from the trash. RestoreTask documents the rules and errors.

    The given object keeps its `deleted_at`, which the response contains.
    """
    change_tasks(actor, [RestoreTask(copy(task), force=force)])
