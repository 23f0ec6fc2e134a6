"""What can happen to what lies in the trash: it comes back, or is deleted for good."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.db.models import Exists, OuterRef

from taskflow.audit.actor import Actor
from taskflow.audit.recorder import change_all, lock_all, remove_all
from taskflow.http.errors import NotFound
from tasks.changes.tasks import restore_task
from tasks.models import Comment, Page, Project, ProjectMember, Role, Task
from tasks.models.graph import children_below, reached
from tasks.models.trash import Trashable
from tasks.rules import MANAGERS, require_author_or_manager, require_role

CHUNK = 1000  # rows deleted by one statement


def restore(actor: Actor, row: Trashable) -> None:
    """Bring a row back, with what was deleted together with it and nothing else.

    Who may delete it may restore it. Raises Conflict when what it belongs to is in the trash.
    """
    RESTORE[type(row)](actor, row)


def _restore_project(actor: Actor, project: Project) -> None:
    require_role(actor, project, Role.OWNER)
    _bring_back(actor, Project, [project.pk])


def _restore_comment(actor: Actor, comment: Comment) -> None:
    lock_all([comment.task])
    require_author_or_manager(actor, comment.task.project, comment.author_id)
    _bring_back(actor, Comment, [comment.pk])


def _restore_page(actor: Actor, page: Page) -> None:
    lock_all([page], "owner")
    require_author_or_manager(actor, page.project, page.owner_id)
    _bring_back(actor, Page, [page.pk])


def _bring_back(
    actor: Actor, model: Any, ids: list[int], deleted_at: datetime | None = None
) -> None:
    rows = model.everything.filter(pk__in=ids, deleted_at__isnull=False)
    if deleted_at is not None:
        rows = rows.filter(deleted_at=deleted_at)
    change_all(actor, rows, "restored", deleted_at=None)


RESTORE: dict[type[Trashable], Callable[[Actor, Any], None]] = {
    Project: _restore_project,
    Task: restore_task,
    Comment: _restore_comment,
    Page: _restore_page,
}


def purge(actor: Actor, row: Trashable) -> None:
    """Delete a row of the trash for good, with all that hangs on it. The record of it stays.

    For the project's owners and admins; a project for its owners.
    """
    if isinstance(row, Project):
        require_role(actor, row, Role.OWNER)
    else:
        project = row.task.project if isinstance(row, Comment) else row.project  # type: ignore[attr-defined]
        require_role(actor, project, *MANAGERS)
    if not _hold(row):
        raise NotFound("It is in the trash no longer.")
    PURGE[type(row)](actor, row)


def purge_older(actor: Actor, kind: type[Trashable], moment: datetime) -> bool:
    """Delete one row that went to the trash before `moment`; return whether there was one."""
    rows = kind._base_manager.filter(deleted_at__lt=moment).order_by("pk")
    row = rows.select_related(*("task",) * (kind is Comment)).first()
    if row is None:
        return False
    if _hold(row):
        PURGE[kind](actor, row)
    return True


def _hold(row: Trashable) -> bool:
    """Whether it is still in the trash, where nobody else restores or purges it until we commit."""
    rows: Any = type(row)._base_manager.filter(pk=row.pk, deleted_at__isnull=False)
    if isinstance(row, Task):  # or a subtask added at this moment would go without a record
        projects = Project.everything.filter(pk=row.project_id)
        projects.select_for_update(no_key=True).values("pk").first()
        rows = rows.filter(project=row.project_id)
    return rows.select_for_update(of=("self",)).values("pk").first() is not None


def _purge_project(actor: Actor, project: Project) -> None:
    _remove(actor, Comment, task__project=project)
    _remove(actor, Page, project=project)
    _remove(actor, Task, project=project)
    _remove(actor, ProjectMember, project=project)
    _remove(actor, Project, pk=project.pk)


def _purge_task(actor: Actor, task: Task) -> None:
    below = sorted(reached(children_below([task.pk]), [task.pk]))
    _remove(actor, Comment, task__in=below)
    _remove(actor, Task, pk__in=below)


def _purge_alone(actor: Actor, row: Trashable) -> None:
    _remove(actor, type(row), pk=row.pk)


PURGE: dict[type[Trashable], Callable[[Actor, Any], None]] = {
    Project: _purge_project,
    Task: _purge_task,
    Comment: _purge_alone,
    Page: _purge_alone,
}


def _remove(actor: Actor, model: Any, **which: Any) -> None:
    """In pieces: a project may hold more rows than fit into memory. Subtasks before their parents,
    which would take them along without a record.
    """
    rows = model._base_manager.filter(**which)
    if model is Task:
        rows = rows.filter(~Exists(Task.everything.filter(parent=OuterRef("pk"))))
    if model is Comment:
        rows = rows.select_related("task")
    while ids := list(rows.values_list("pk", flat=True)[:CHUNK]):
        remove_all(actor, rows.filter(pk__in=ids), "purged")
