"""Comments on tasks. Start every query from visible_to()."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from django.db import models
from django.db.models import Max, OuterRef, Q, Subquery
from django.utils import timezone

from accounts.models import User
from taskflow.db.computed import WordsField
from taskflow.db.creation_time import CreationTime
from taskflow.db.writes import update
from taskflow.http.schema import MAX_TEXT_LENGTH
from taskflow.tenancy import (
    Changes,
    TenantFK,
    TenantManager,
    TenantQuerySet,
    with_tenant_parameter,
)
from tasks.models.claim_checks import follow_task_changes
from tasks.models.projects import Project
from tasks.models.tasks import Task
from tasks.models.trash import LiveManager, Trashable

if TYPE_CHECKING:
    from taskflow.audit.actor import Actor
    from taskflow.db.viewer import Viewer


class CommentQuerySet(TenantQuerySet["Comment"]):
    """Comments. The manager `objects` leaves out the trash, `everything` includes it."""

    def visible_to(self, viewer: Viewer) -> Self:
        """Return the comments on tasks that are visible and not in the trash."""
        rows = self.filter(task__deleted_at__isnull=True)
        if viewer.is_staff and viewer.project_ids is None:
            return rows.filter(task__project__deleted_at__isnull=True)
        return rows.filter(task__project__in=Project.objects.visible_to(viewer))


CommentManager = LiveManager.from_queryset(CommentQuerySet)
AllCommentsManager = TenantManager.from_queryset(CommentQuerySet)


class Comment(Trashable):
    """A text in markdown that a user wrote about a task."""

    derived = frozenset({"edited_at"})
    project_field = "project_id"

    task = TenantFK(Task, models.CASCADE, related_name="comments")
    # Null if an operator of the platform wrote the comment: operators have no row in this tenant.
    author = TenantFK(User, models.PROTECT, null=True, editable=False, related_name="comments")
    body = models.TextField(max_length=MAX_TEXT_LENGTH)  # markdown, stored as written
    body_words = WordsField("body")
    edited_at = models.DateTimeField(null=True, editable=False)
    version = models.PositiveIntegerField(default=1, editable=False)
    created_at = CreationTime()
    updated_at = models.DateTimeField(auto_now=True)

    objects: ClassVar = CommentManager()
    everything: ClassVar = AllCommentsManager()

    class Meta:
        base_manager_name = "everything"
        constraints = [
            models.CheckConstraint(name="comment_says_something", condition=~Q(body="")),
        ]
        indexes = [
            # the comments of a task, in the order in which they were written
            models.Index(fields=["tenant", "task", "id"], name="comment_by_task"),
            # the comments of a user, when the user is deleted
            models.Index(fields=["tenant", "author"], name="comment_by_author"),
            # the list of all comments without a filter
            models.Index(
                fields=["tenant", "id"],
                name="comment_in_order_of_id",
                condition=Q(deleted_at__isnull=True),
            ),
            # searching for common words: the latest changed comments
            models.Index(
                fields=["tenant", "updated_at", "id"],
                name="comment_by_change",
                condition=Q(deleted_at__isnull=True),
            ),
            # the list of the trash, and `purge`
            models.Index(
                fields=["tenant", "deleted_at"],
                name="comment_trash",
                condition=Q(deleted_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.body if len(self.body) <= 60 else self.body[:59] + "…"

    @classmethod
    def update_dependents(cls, changes: Iterable[tuple[Self, Changes]]) -> None:
        """Set `commented_at` of the tasks of these comments.

        One statement, which PostgreSQL gets with the next one if it is for one task. The caller has
        locked the tasks, which come before comments in the order of locks. A comment that is
        deleted permanently was in the trash, so nothing visible changes.
        """
        tasks = sorted({comment.task_id for comment, fields in changes if not _is_purge(fields)})
        now = timezone.now()
        if len(tasks) == 1:
            update(_all_tasks, tasks[0], {"commented_at": now})
        elif tasks:
            Task.everything.filter(pk__in=tasks).update(commented_at=now)

    @classmethod
    def follow_changes(cls, actor: Actor, changes: Sequence[tuple[Self, Changes]]) -> None:
        """Refuse a change of a comment by an agent that does not hold the claim of its task."""
        tasks = {comment.task_id: comment.task for comment, _ in changes}
        follow_task_changes(actor, [(task, {"comments": []}) for task in tasks.values()])

    @classmethod
    def store_missing_times(cls) -> None:
        """Set `commented_at` of the tasks that have comments but no such time. One statement.

        For imported files of a version that did not have the column.
        """
        comments = cls.everything.filter(task=OuterRef("pk")).order_by()
        last = comments.values("task").annotate(last=Max("updated_at")).values("last")
        Task.everything.filter(commented_at=None).update(commented_at=Subquery(last))

    @property
    def project_id(self) -> int:
        project_id: int = self.task.project_id
        return project_id


@with_tenant_parameter
def _all_tasks() -> models.QuerySet[Task]:
    """Return all tasks in any tenant, also those in the trash."""
    tasks: models.QuerySet[Task] = Task.everything.all()
    return tasks


def _is_purge(changes: Changes) -> bool:
    """Return whether the recorded changes are those of a permanent deletion."""
    return "task" in changes and changes["task"][1] is None
