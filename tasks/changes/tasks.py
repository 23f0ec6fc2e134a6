"""What can happen to a task. For sets of them see drafts.py and edits.py, which do the work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from accounts.models import User
from taskflow.audit.actor import Actor
from taskflow.audit.recorder import lock
from taskflow.http.errors import Conflict, Invalid
from tasks.changes.creation import Draft, create_tasks
from tasks.changes.edits import Edit, edit_tasks
from tasks.models import Project, Status, Task
from tasks.rules import require_member


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
    """Add a task with the project's next number. Tags that don't exist yet are made."""
    draft = Draft(project, title, values, parent, tags, blocked_by)
    return create_tasks(actor, [draft])[0]


def update_task(actor: Actor, task: Task, *, force: bool = False, **values: Any) -> Task:
    """Change what was given, and nothing else. `tags` and `blocked_by` replace them all.

    With a status of done it completes the task: see complete_task().
    """
    edit_tasks(actor, [Edit(task, values, force=force)])
    return task


def upsert_task(
    actor: Actor, project: Project, external_ref: str, **values: Any
) -> tuple[Task, bool]:
    """Create or change the project's task with this external_ref; say whether it is new.

    Raises Conflict when it lies in the trash, Invalid when a new one has no title.
    """
    require_member(actor, project)
    lock(project)  # or two at once would both find nothing
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
    """Finish a task. Completing a done task changes nothing.

    Raises Conflict, listing them, when subtasks or blockers are open, unless forced.
    """
    return update_task(actor, task, force=force, status=Status.DONE)


def reopen_task(actor: Actor, task: Task) -> Task:
    """Take a done task up again, as to do. Reopening an open task changes nothing."""
    edit_tasks(actor, [Edit(task, reopen=True)])
    return task


def assign_task(actor: Actor, task: Task, assignee: User | None) -> Task:
    """Give the task to somebody who can see it, or to nobody."""
    return update_task(actor, task, assignee=assignee)


def move_task(actor: Actor, task: Task, project: Project) -> Task:
    """Take a task and its subtasks to another project, where they get new numbers.

    The old keys still find them. A subtask leaves its parent, and who cannot see the other project
    is unassigned.
    """
    edit_tasks(actor, [Edit(task, project=project)])
    return task


def delete_task(actor: Actor, task: Task) -> None:
    """Move a task and its subtasks to the trash."""
    edit_tasks(actor, [Edit(task, delete=True)])
