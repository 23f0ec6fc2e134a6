"""What can happen to a comment."""

from __future__ import annotations

from django.utils import timezone

from taskflow.audit.actor import Actor
from taskflow.audit.recorder import change, create, lock
from taskflow.http.errors import Forbidden
from tasks.models import Comment, Task
from tasks.rules import require_author_or_manager, require_member


def create_comment(actor: Actor, task: Task, *, body: str) -> Comment:
    """Say something about a task. The text is kept as written."""
    lock(task)  # or it could be moved out of the project whose members may comment
    require_member(actor, task.project)
    return create(actor, Comment(task=task, author=actor.member, body=body))


def update_comment(actor: Actor, comment: Comment, *, body: str) -> Comment:
    """Write it anew. Nobody but its author may: it stands under his name."""
    lock(comment.task)
    require_member(actor, comment.task.project)
    if comment.author_id is None or comment.author_id != actor.user.pk:
        raise Forbidden("Only its author may change a comment.")
    lock(comment, "body")
    if comment.body == body:
        return comment
    return change(actor, comment, body=body, edited_at=timezone.now())


def delete_comment(actor: Actor, comment: Comment) -> None:
    """Move a comment to the trash. For its author and the project's owners and admins."""
    lock(comment.task)
    require_author_or_manager(actor, comment.task.project, comment.author_id)
    change(actor, comment, "deleted", deleted_at=timezone.now())
