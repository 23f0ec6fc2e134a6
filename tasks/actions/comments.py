"""The actions on comments."""

from __future__ import annotations

from django.utils import timezone

from taskflow.audit.actor import Actor
from taskflow.audit.recorder import change, create, lock
from taskflow.http.errors import Forbidden
from tasks.models import Comment, Task
from tasks.rules import require_author_or_manager, require_member


def create_comment(actor: Actor, task: Task, *, body: str) -> Comment:
    """Add a comment to a task. Requires membership of its project."""
    lock(task)  # otherwise it could be moved to a project in which the actor may not write
    require_member(actor, task.project)
    return create(actor, Comment(task=task, author=actor.member, body=body))


def update_comment(actor: Actor, comment: Comment, *, body: str) -> Comment:
    """Replace the text of a comment. Raises Forbidden unless the actor is its author."""
    lock(comment.task)
    require_member(actor, comment.task.project)
    if comment.author_id is None or comment.author_id != actor.user.pk:
        raise Forbidden("Only the author of a comment may change it.")
    lock(comment, "body")
    if comment.body == body:
        return comment
    return change(actor, comment, body=body, edited_at=timezone.now())


def delete_comment(actor: Actor, comment: Comment) -> None:
    """Move a comment to the trash. Requires its author, or an owner or admin of the project."""
    lock(comment.task)
    require_author_or_manager(actor, comment.task.project, comment.author_id)
    change(actor, comment, "deleted", deleted_at=timezone.now())
