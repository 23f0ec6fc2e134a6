"""Notifications of people: their inbox, what they want to get, and how far the log is read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, Self

from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from accounts.models import User
from taskflow.db.creation_time import CreationTime
from taskflow.db.query import QueryCache
from taskflow.tenancy import (
    TenantFK,
    TenantManager,
    TenantModel,
    TenantQuerySet,
    with_tenant_parameter,
)
from tasks.models.comments import Comment
from tasks.models.pages import Page
from tasks.models.projects import Project
from tasks.models.tasks import Task

if TYPE_CHECKING:
    from taskflow.db.viewer import Viewer

NOTIFICATION_RETENTION = timedelta(days=90)  # after which they are deleted, read or not
MAX_BADGE = 100  # unread notifications that are counted; more are shown as 99+


class NotificationKind(models.TextChoices):
    """What a notification is about, from the side of its user."""

    ASSIGNED = "assigned"
    MENTIONED = "mentioned"
    UNBLOCKED = "unblocked"  # the last open blocker of a task of the user is done
    OVERDUE = "overdue"
    HANDED_BACK = "handed_back"  # the claim of an agent has ended, and the user has the task
    NEEDS_INPUT = "needs_input"  # an agent asks the user for input


class Digest(models.TextChoices):
    """How often a user gets unread notifications by e-mail."""

    OFF = "off"
    DAILY = "daily"
    WEEKLY = "weekly"  # on Mondays


class NotificationQuerySet(TenantQuerySet["Notification"]):
    def visible_to(self, viewer: Viewer) -> Self:
        """Return the notifications of the viewer about rows that the viewer can see now."""
        tasks = Task.objects.visible_to(viewer).filter(pk=OuterRef("task"))
        pages = Page.objects.visible_to(viewer).filter(pk=OuterRef("page"))
        projects = Project.objects.visible_to(viewer).filter(pk=OuterRef("project"))
        comments = Comment.objects.filter(pk=OuterRef("comment"))
        return self.filter(
            Exists(tasks) | Exists(pages) | Exists(projects),
            Q(comment__isnull=True) | Exists(comments),
            user=viewer.user_id,
        )

    def unread(self) -> Self:
        return self.filter(read_at__isnull=True)

    def mark_as_read(self) -> int:
        """Mark those as read that are unread. Return how many. One statement."""
        return self.unread().update(read_at=timezone.now())

    def mark_as_unread(self) -> int:
        return self.filter(read_at__isnull=False).update(read_at=None)

    def mark_as_mailed(self, mailed_at: datetime | None) -> int:
        return self.update(mailed_at=mailed_at)

    def add(self, rows: Iterable[Notification]) -> None:
        """Store new notifications."""
        self.bulk_create(list(rows), batch_size=500)

    def old(self, before: datetime) -> Self:
        """Return the notifications from before this time."""
        return self.filter(created_at__lt=before)

    def forget_old(self, before: datetime) -> int:
        """Delete the notifications from before this time. Return how many."""
        count, _ = self.old(before).delete()
        return count


class Notification(TenantModel):
    """Something that a user should hear of. It is about one task, page or project.

    `comment` is the comment that mentions the user. `created_at` is the time of the event, or the
    time since which the task is overdue.
    """

    user = TenantFK(User, models.CASCADE, related_name="notifications")
    kind = models.CharField(max_length=11, choices=NotificationKind)
    # Null for what the system or time has brought. No index: users with events are never deleted.
    actor = TenantFK(User, models.PROTECT, null=True, related_name="+", db_index=False)
    task = TenantFK(Task, models.CASCADE, null=True, related_name="+")
    comment = TenantFK(Comment, models.CASCADE, null=True, related_name="+")
    page = TenantFK(Page, models.CASCADE, null=True, related_name="+")
    project = TenantFK(Project, models.CASCADE, null=True, related_name="+")
    read_at = models.DateTimeField(null=True)
    mailed_at = models.DateTimeField(null=True)  # when it was in a digest
    created_at = CreationTime()

    objects: ClassVar = TenantManager.from_queryset(NotificationQuerySet)()

    class Meta:
        base_manager_name = "objects"
        constraints = [
            models.CheckConstraint(
                name="notification_kind_is_known", condition=Q(kind__in=NotificationKind.values)
            ),
        ]
        indexes = [
            # the inbox, newest first, and deleting a user
            models.Index(fields=["tenant", "user", "id"], name="notification_inbox"),
            # the badge on every page of the admin
            models.Index(
                fields=["tenant", "user"],
                name="notification_unread",
                condition=Q(read_at__isnull=True),
            ),
            # deleting these rows permanently; `task` also finds what is overdue and reported
            models.Index(
                fields=["tenant", "task", "user"],
                name="notification_task",
                condition=Q(task__isnull=False),
            ),
            models.Index(
                fields=["tenant", "comment"],
                name="notification_comment",
                condition=Q(comment__isnull=False),
            ),
            models.Index(
                fields=["tenant", "page"],
                name="notification_page",
                condition=Q(page__isnull=False),
            ),
            models.Index(
                fields=["tenant", "project"],
                name="notification_project",
                condition=Q(project__isnull=False),
            ),
            # the retention
            models.Index(fields=["tenant", "created_at"], name="notification_age"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"


class NotificationPreference(TenantModel):
    """What a user wants to get. Without a row, the user gets all kinds, and no e-mails."""

    user = TenantFK(User, models.CASCADE, related_name="+")
    digest = models.CharField(max_length=6, choices=Digest, default=Digest.OFF)
    muted = models.JSONField(default=list)  # kinds of which the user gets none
    digested_on = models.DateField(null=True)  # the tenant's day of the last digest

    class Meta:
        base_manager_name = "objects"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "user"], name="notification_preference_key"),
            models.CheckConstraint(
                name="notification_digest_is_known", condition=Q(digest__in=Digest.values)
            ),
        ]
        indexes = [
            # the digests that may be due
            models.Index(
                fields=["tenant", "digested_on"],
                name="notification_digest",
                condition=~Q(digest=Digest.OFF),
            ),
        ]

    def __str__(self) -> str:
        return f"notifications of user {self.user_id}"

    @classmethod
    def of(cls, user: User) -> NotificationPreference:
        """Return the preferences of a user, which may not be stored yet. One statement."""
        row: NotificationPreference | None = cls._default_manager.filter(user=user).first()
        return row or cls(user=user)

    @classmethod
    def store(cls, user: User, values: dict[str, object]) -> NotificationPreference:
        """Store these preferences of a user, and return all. Two or three statements."""
        if values and not cls._default_manager.filter(user=user).update(**values):
            cls._default_manager.bulk_create([cls(user=user, **values)], ignore_conflicts=True)
            cls._default_manager.filter(user=user).update(**values)
        return cls.of(user)

    @classmethod
    def find_muted(cls, user_ids: Collection[int]) -> dict[int, list[str]]:
        """Return the muted kinds of those of the users who have stored preferences."""
        rows = cls._default_manager.filter(user__in=sorted(user_ids))
        return dict(rows.values_list("user_id", "muted"))

    def store_digest(self, day: date | None) -> None:
        """Store that a digest was made on that day of the tenant."""
        type(self)._default_manager.filter(pk=self.pk).update(digested_on=day)


class NotificationPosition(TenantModel):
    """How far notifications of the tenant are made. One row for each tenant, after the first run.

    `cursor` is the position in the feed of events. `overdue_until` is the time up to which overdue
    tasks are reported.
    """

    cursor = models.CharField(max_length=200)
    overdue_until = models.DateTimeField()

    class Meta:
        base_manager_name = "objects"
        constraints = [
            models.UniqueConstraint(fields=["tenant"], name="notification_position_key"),
        ]

    def __str__(self) -> str:
        return self.cursor

    @classmethod
    def lock(cls, beginning: str, now: datetime) -> NotificationPosition | None:
        """Return the locked row of the tenant. Without one, it is inserted with these values.

        None if another process has locked it. At most three statements.
        """
        rows = cls._default_manager.select_for_update(skip_locked=True, no_key=True)
        row: NotificationPosition | None = rows.first()
        if row is None and not cls._default_manager.exists():
            new = cls(cursor=beginning, overdue_until=now)
            cls._default_manager.bulk_create([new], ignore_conflicts=True)
            row = rows.first()
        return row

    def store(self) -> None:
        rows = type(self)._default_manager.filter(pk=self.pk)
        rows.update(cursor=self.cursor, overdue_until=self.overdue_until)


def count_unread(viewer: Viewer) -> int:
    """Return how many notifications of the viewer are unread, at most MAX_BADGE.

    One statement, which reads the unread rows of the viewer by an index.
    """
    return len(_unread_queries.fetch((), viewer))


@with_tenant_parameter
def _select_unread(viewer: Viewer) -> models.QuerySet[Notification, tuple[int]]:
    rows: models.QuerySet[Notification] = Notification.objects.unread().visible_to(viewer)
    return rows.values_list("pk")[:MAX_BADGE]


_unread_queries: QueryCache[Notification] = QueryCache(_select_unread)


Report = tuple[int | None, int, datetime]  # task, user, time


def find_reported(task_ids: Sequence[int], kind: NotificationKind) -> set[Report]:
    """Return task, user and time of the notifications of one kind about these tasks."""
    rows = Notification.objects.filter(task__in=sorted(task_ids), kind=kind)
    return {*rows.values_list("task_id", "user_id", "created_at")}
