"""What lies in the trash."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from django.db.models import F, Q, QuerySet

from taskflow.audit.actor import Actor
from taskflow.http.errors import NotFound
from tasks.models import Comment, Page, Project, Task
from tasks.models.trash import Trashable


class TrashKind(StrEnum):
    PROJECT = "project"
    TASK = "task"
    COMMENT = "comment"
    PAGE = "page"


def rows_in_trash(actor: Actor) -> dict[TrashKind, QuerySet[Any]]:
    """Of each kind, what the actor would see were it not deleted.

    What was deleted together is there once: subtasks come back with their task, and what a project
    holds with the project.
    """
    is_top = Q(parent__isnull=True) | Q(parent__deleted_at__isnull=True)
    is_top |= ~Q(parent__deleted_at=F("deleted_at"))
    tasks = Task.everything.visible_to(actor.viewer).filter(is_top).select_related("project")
    comments = Comment.everything.visible_to(actor.viewer).select_related("task__project")
    pages = Page.everything.visible_to(actor.viewer).select_related("project")
    projects = Project.everything.visible_to(actor.viewer)
    kinds: tuple[QuerySet[Any], ...] = (projects, tasks, comments, pages)
    return {
        kind: rows.filter(deleted_at__isnull=False)
        for kind, rows in zip(TrashKind, kinds, strict=True)
    }


def find_in_trash(actor: Actor, kind: TrashKind, row_id: int) -> Trashable:
    """Raises NotFound."""
    row: Trashable | None = rows_in_trash(actor)[kind].filter(pk=row_id).first()
    if row is None:
        raise NotFound(f"There is no such {kind} in the trash.")
    return row
