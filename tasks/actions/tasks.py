"""What can happen to a task."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.utils import timezone

from accounts.actor import Actor
from accounts.events.record import change, create, lock, remove_all
from accounts.models import User
from taskflow.errors import Conflict, Invalid
from tasks.actions.tags import find_or_create_tags
from tasks.models import Project, ProjectMember, Status, Task
from tasks.models.tasks import DEEPEST
from tasks.rules import require_member


def create_task(
    actor: Actor,
    project: Project,
    *,
    title: str,
    status: Status = Status.TODO,
    assignee: User | None = None,
    parent: Task | None = None,
    tags: Iterable[str] = (),
    **values: Any,
) -> Task:
    """Add a task with the project's next number. Tags that don't exist yet are made."""
    require_member(actor, project)
    task = Task(
        project=project,
        title=title,
        status=status,
        completed_at=timezone.now() if status == Status.DONE else None,
        assignee=assignee,
        created_by=actor.member,
        parent=parent,
        **values,
    )
    _check_due(task)
    _check_assignee(project, assignee)
    if parent is not None:
        _check_parent(task, parent)
    task.number = project.take_numbers()
    named = list(tags)
    return create(actor, task, tags=find_or_create_tags(actor, named) if named else [])


def update_task(actor: Actor, task: Task, **values: Any) -> Task:
    """Change what was given, and nothing else. `tags` replaces them all."""
    require_member(actor, task.project)
    if values.get("assignee") is not None and values["assignee"].pk != task.assignee_id:
        _check_assignee(task.project, values["assignee"])
    if values.get("parent") is not None and values["parent"].pk != task.parent_id:
        _check_parent(task, values["parent"])
    # Locks are taken in one order everywhere: project, tags, task.
    if "tags" in values:
        values["tags"] = find_or_create_tags(actor, values["tags"])
    if values.keys() & DEPENDENT:
        lock(task, *DEPENDENT)
    if "status" in values and values["status"] != task.status:
        values["completed_at"] = timezone.now() if values["status"] == Status.DONE else None
    due = {"due_date": task.due_date, "due_on": task.due_on} | values
    if due["due_date"] and due["due_on"]:
        raise BOTH_DUE
    return change(actor, task, _verb(task, values), **values)


def complete_task(actor: Actor, task: Task) -> Task:
    """Finish a task. Completing a done task changes nothing."""
    return update_task(actor, task, status=Status.DONE)


def reopen_task(actor: Actor, task: Task) -> Task:
    """Take a done task up again, as to do. Reopening an open task changes nothing."""
    require_member(actor, task.project)
    lock(task, "status")
    return update_task(actor, task, status=Status.TODO) if task.completed else task


def delete_task(actor: Actor, task: Task) -> None:
    """Delete a task and its subtasks, each on record."""
    require_member(actor, task.project)
    lock(task.project)  # or a subtask added at this moment would go without a record
    levels = [[task.pk]]
    while levels[-1]:
        children = Task.objects.filter(parent__in=levels[-1]).values_list("pk", flat=True)
        levels.append(list(children))
    remove_all(actor, Task.objects.filter(pk__in=[pk for level in levels for pk in level]))


# What a change of one is judged by the others for: they must be of the same moment.
DEPENDENT = ("status", "completed_at", "due_date", "due_on")
BOTH_DUE = Invalid.field("due_on", "Give due_date or due_on, not both.")


def _verb(task: Task, values: dict[str, Any]) -> str:
    if values.get("status", task.status) == task.status:
        return "changed"
    if values["status"] == Status.DONE:
        return "completed"
    return "reopened" if task.completed else "changed"


def _check_due(task: Task) -> None:
    if task.due_date and task.due_on:
        raise BOTH_DUE


def _check_assignee(project: Project, assignee: User | None) -> None:
    """He must be able to see the task."""
    if assignee is None:
        return
    if not assignee.is_active:
        raise Invalid.field("assignee_id", f"{assignee} is deactivated.")
    is_member = ProjectMember.objects.filter(project=project, user=assignee).exists()
    if not (assignee.is_staff or is_member):
        raise Invalid.field("assignee_id", f"{assignee} is not a member of “{project.name}”.")


def _check_parent(task: Task, parent: Task) -> None:
    """Same project, no cycle, at most five levels with what hangs below."""
    if parent.project_id != task.project_id:
        raise Invalid.field("parent_id", "A subtask is in its parent's project.")
    # One at a time: two moves that are fine alone could close a cycle together.
    lock(task.project)
    above = _ancestors(parent)
    if task.pk is not None and task.pk in above:
        raise Conflict("A task cannot be below itself.", code="cycle")
    if len(above) + _height(task) > DEEPEST:
        raise Invalid.field("parent_id", f"Subtasks go {DEEPEST} levels deep at most.", "too_deep")


def _ancestors(task: Task) -> list[int]:
    """The task and all above it, by id."""
    found: list[int] = []
    current: int | None = task.pk
    while current is not None and current not in found:
        found.append(current)
        current = Task.objects.filter(pk=current).values_list("parent_id", flat=True).first()
    return found


def _height(task: Task) -> int:
    """Levels from the task down, itself counted."""
    height, level = 0, [task.pk] if task.pk else []
    while level:
        height += 1
        level = list(Task.objects.filter(parent__in=level).values_list("pk", flat=True))
    return max(height, 1)
