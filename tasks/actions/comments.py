"""The actions on comments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from accounts.models import User
from taskflow.audit.actor import Actor
from taskflow.audit.recorder import change, create, create_all, lock
from tasks.models import Comment, Task
from tasks.rules import (
    check_can_keep_history,
    require_author,
    require_author_or_manager,
    require_member,
)


def create_comment(actor: Actor, task: Task, *, body: str) -> Comment:
    """Add a comment to a task. Requires membership of its project."""
    lock(task)  # otherwise it could be moved to a project in which the actor may not write
    require_member(actor, task.project)
    return create(actor, Comment(task=task, author=actor.member, body=body))


@dataclass(frozen=True)
class ImportedComment:
    """A comment of another system. Without an author or a time, it is a new comment."""

    task: Task
    body: str
    author: User | None = None
    created_at: datetime | None = None


def import_comments(actor: Actor, comments: Sequence[ImportedComment]) -> None:
    """Add comments that keep their authors and times to tasks that the actor has locked.

    Requires an administrator if one of them has an author or a time. A constant number of
    statements.
    """
    if any(comment.author or comment.created_at for comment in comments):
        check_can_keep_history(actor, ["comment"])
    rows = [
        Comment(
            task=comment.task,
            author=comment.author or actor.member,
            body=comment.body,
            **({"created_at": comment.created_at} if comment.created_at else {}),
        )
        for comment in comments
    ]
    create_all(actor, rows, "imported")


def update_comment(actor: Actor, comment: Comment, *, body: str) -> Comment:
    """Replace the text of a comment. Raises Forbidden unless the actor is its author."""
    lock(comment.task)
    require_member(actor, comment.task.project)
    require_author(actor, comment.author_id)
    lock(comment, "body")
    if comment.body == body:
        return comment
    return change(actor, comment, body=body, edited_at=timezone.now())


def delete_comment(actor: Actor, comment: Comment) -> None:
    """Move a comment to the trash. Requires its author, or an owner or admin of the project."""
    lock(comment.task)
    require_author_or_manager(actor, comment.task.project, comment.author_id)
    change(actor, comment, "deleted", deleted_at=timezone.now())
