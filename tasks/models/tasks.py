"""Tasks, their tags and blockers. Start every query from visible_to()."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, ClassVar, Self

from django.db import models
from django.db.models import Case, Exists, F, OuterRef, Q, Value, When
from django.db.models.functions import Coalesce, Greatest
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from taskflow.db.computed import FoldedField, WordsField
from taskflow.db.creation_time import CreationTime
from taskflow.db.expressions import MiddleOfDay
from taskflow.db.writes import Numbering
from taskflow.http.schema import MAX_TEXT_LENGTH
from taskflow.tenancy import Changes, TenantFK, TenantManager, TenantModel, TenantQuerySet
from tasks.models.claim_checks import follow_task_changes
from tasks.models.count_deltas import TaskCountDelta
from tasks.models.projects import (
    PROJECT_DELETED,
    Project,
    ProjectStatus,
    projects_outside_trash,
)
from tasks.models.tags import Tag
from tasks.models.task_indexes import TASK_INDEXES
from tasks.models.trash import LiveManager, Trashable

if TYPE_CHECKING:
    from taskflow.audit.actor import Actor
    from taskflow.db.viewer import Viewer

MAX_TASK_DEPTH = 5  # levels of a tree of tasks; the top task is the first level
MAX_TAGS = 50  # tags of one task
EARLIEST, LATEST = date(1970, 1, 1), date(2199, 12, 31)  # the range of due dates


class Status(models.TextChoices):
    """The status of a task. A task is open until it is done."""

    TODO = "todo", _("To do")
    IN_PROGRESS = "in_progress", _("In Progress")
    DONE = "done", _("Done")


class Outcome(models.TextChoices):
    """How a done task ended: its work was finished, or it was dropped."""

    COMPLETED = "completed", _("Completed")
    CANCELLED = "cancelled", _("Cancelled")


class Priority(models.TextChoices):
    """The priority of a task. Lists that sort by priority sort by urgency."""

    LOW = "low", _("Low")
    MEDIUM = "medium", _("Medium")
    HIGH = "high", _("High")


class TaskQuerySet(TenantQuerySet["Task"]):
    """Tasks. The manager `objects` leaves out deleted tasks, `everything` includes them."""

    def visible_to(self, viewer: Viewer) -> Self:
        """Return the tasks of visible projects."""
        if viewer.is_staff and viewer.project_ids is None:
            return self.filter(project__deleted_at__isnull=True)
        return self.filter(project__in=Project.objects.visible_to(viewer))

    def with_details(self) -> Self:
        """Load all fields of TaskResponse, tags and blockers too. Three queries."""
        return self.select_related("project", "assignee", "created_by").prefetch_related(  # type: ignore[type-var]
            models.Prefetch("tags", Tag.objects.order_by("name_folded", "id")),
            models.Prefetch(
                "blocked_by", Task.objects.outside_trash().only("pk", "tenant", "status", "version")
            ),
        )

    def outside_trash(self) -> Self:
        """Return the tasks that are not in the trash and whose project is not. Ordered by id."""
        return self.filter(project__deleted_at__isnull=True).order_by("pk")

    def open(self) -> Self:
        """Return the tasks whose status is not done."""
        return self.exclude(status=Status.DONE)


def is_ready() -> Q:
    """Return the condition that a task is open, that no open task blocks it, and that its project
    is not archived.
    """
    return is_workable() & ~Q(is_blocked())


def is_workable() -> Q:
    """Return the condition that a task is open and its project is not archived."""
    return ~Q(status=Status.DONE) & ~Q(project__status=ProjectStatus.ARCHIVED)


def is_blocked() -> Exists:
    """Return the condition that an open task blocks a task. Tasks in the trash, and tasks whose
    project is in the trash, do not count.
    """
    return Exists(TaskBlocker.objects.filter(has_open_blocker(), task=OuterRef("pk")))


def has_open_blocker() -> Q:
    """Return the condition, for a query of TaskBlocker, that the blocker is open and not in the
    trash.

    It uses joins. With a subquery, each statement would evaluate all open tasks of the tenant, even
    if it reads few rows of TaskBlocker.
    """
    return ~Q(blocker__status=Status.DONE) & Q(
        blocker__deleted_at__isnull=True, blocker__project__deleted_at__isnull=True
    )


TaskManager = LiveManager.from_queryset(TaskQuerySet)
AllTasksManager = TenantManager.from_queryset(TaskQuerySet)


class Task(Trashable):
    """A task of a project, with a number that is unique in the project."""

    unrecorded = frozenset({"commented_at", "claim_id", "assigned_by_claim_id"})
    derived = frozenset({"completed_at"})
    columns_for_dependents = frozenset(
        {
            *("project_id", "status", "outcome", "deleted_at"),  # for the task counts
            *("claim_id", "assigned_by_claim_id"),  # for the claims, with every lock of the row
        }
    )
    project_field = "project_id"
    numbering = Numbering(
        "number", "project_id", projects_outside_trash, "last_number", PROJECT_DELETED.copy
    )
    few_values: ClassVar = {"priority_rank": (1, 2, 3)}  # sorted lists are read per value

    project = TenantFK(Project, models.CASCADE, related_name="tasks")
    number = models.PositiveIntegerField(editable=False)
    title = models.CharField(max_length=500)
    title_folded = FoldedField("title")
    title_words = WordsField("title")
    description = models.TextField(blank=True, max_length=MAX_TEXT_LENGTH)
    description_words = WordsField("description")
    status = models.CharField(max_length=11, choices=Status, default=Status.TODO)
    # Null as long as the task is open.
    outcome = models.CharField(max_length=9, choices=Outcome, null=True, blank=True)
    priority = models.CharField(max_length=6, choices=Priority, default=Priority.MEDIUM)
    # Lists sort by this column: the words would sort by alphabet, not by urgency.
    priority_rank = models.GeneratedField(
        expression=Case(
            When(priority="low", then=Value(1)),
            When(priority="medium", then=Value(2)),
            default=Value(3),
        ),
        output_field=models.SmallIntegerField(),
        db_persist=True,
    )
    assignee = TenantFK(User, models.PROTECT, null=True, blank=True, related_name="assigned_tasks")
    # Null if an operator of the platform created the task: operators have no row in this tenant.
    created_by = TenantFK(
        User, models.PROTECT, null=True, editable=False, related_name="created_tasks"
    )
    parent = TenantFK("self", models.CASCADE, null=True, blank=True, related_name="subtasks")
    tags = models.ManyToManyField(Tag, through="TaskTag", related_name="tasks", editable=False)
    blocked_by = models.ManyToManyField(
        "self",
        through="TaskBlocker",
        through_fields=("task", "blocker"),
        symmetrical=False,
        related_name="blocking",
        editable=False,
    )
    due_date = models.DateTimeField(null=True, blank=True)  # a time
    due_on = models.DateField(null=True, blank=True)  # a calendar day, the same in every time zone
    links = models.JSONField(default=list, blank=True)  # [{"url": "…", "title": "…" or null}]
    # Lists sort days and times together by this column. At noon in UTC it is the same day in every
    # zone from UTC-11 to UTC+12. So days are in order with the times of other days, without a value
    # that depends on the tenant's zone and would have to be stored anew when that changes.
    due = models.GeneratedField(
        expression=Coalesce("due_date", MiddleOfDay("due_on")),
        output_field=models.DateTimeField(),
        null=True,
        db_persist=True,
    )
    metadata = models.JSONField(default=dict, blank=True)
    external_ref = models.CharField(max_length=255, null=True, blank=True)
    version = models.PositiveIntegerField(default=1, editable=False)
    completed_at = models.DateTimeField(null=True, editable=False)
    created_at = CreationTime()
    updated_at = models.DateTimeField(auto_now=True)
    # When a comment was last written, changed, deleted or restored. Comment sets it, and neither
    # the version nor updated_at changes with it: a comment is no edit of the task.
    commented_at = models.DateTimeField(null=True, editable=False)
    # The claim that has not ended; null if there is none. The lock of the row reads it, so a write
    # of a task without a claim needs no further statement. Not a foreign key, since the claim
    # refers to the task. Like the next column, it changes neither the version nor updated_at.
    claim_id = models.BigIntegerField(null=True, editable=False)
    # The claim that has set the present assignee; null if an edit has. When it has ended, the task
    # counts as unassigned.
    assigned_by_claim_id = models.BigIntegerField(null=True, editable=False)
    # By the database, so that no statement that writes one of both can forget it.
    last_activity_at = models.GeneratedField(
        expression=Greatest("updated_at", Coalesce("commented_at", "updated_at")),
        output_field=models.DateTimeField(),
        db_persist=True,
    )

    objects: ClassVar = TaskManager()
    everything: ClassVar = AllTasksManager()

    class Meta:
        base_manager_name = "everything"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "project", "number"],
                name="task_number_key",  # also finds a task by its key, WEB-12
            ),
            models.UniqueConstraint(
                fields=["tenant", "project", "external_ref"],
                name="task_external_ref_key",
                condition=Q(external_ref__isnull=False),
                violation_error_message=_(
                    "Another task of the project, maybe one in the trash, has this external_ref."
                ),
            ),
            models.CheckConstraint(
                name="task_status_is_known", condition=Q(status__in=Status.values)
            ),
            models.CheckConstraint(
                name="task_priority_is_known", condition=Q(priority__in=Priority.values)
            ),
            models.CheckConstraint(name="task_has_a_title", condition=~Q(title="")),
            models.CheckConstraint(
                name="task_is_due_once",
                condition=Q(due_date__isnull=True) | Q(due_on__isnull=True),
                violation_error_message=_("Give due_date or due_on, not both."),
            ),
            models.CheckConstraint(
                # PostgreSQL stores dates that Python cannot read. One such row would make every
                # list that contains it fail.
                name="task_is_due_in_readable_time",
                condition=(Q(due_on__isnull=True) | Q(due_on__range=(EARLIEST, LATEST)))
                & (
                    Q(due_date__isnull=True)
                    | Q(
                        due_date__gte=datetime(1970, 1, 1, tzinfo=UTC),
                        due_date__lt=datetime(2200, 1, 1, tzinfo=UTC),
                    )
                ),
                violation_error_message=_("Due dates lie in the years 1970 to 2199."),
            ),
            models.CheckConstraint(
                name="task_done_is_completed",
                condition=Q(status=Status.DONE, completed_at__isnull=False)
                | (~Q(status=Status.DONE) & Q(completed_at__isnull=True)),
            ),
            models.CheckConstraint(
                name="task_outcome_is_known",
                condition=Q(outcome__isnull=True) | Q(outcome__in=Outcome.values),
            ),
            models.CheckConstraint(
                name="task_done_has_an_outcome",
                condition=Q(status=Status.DONE, outcome__isnull=False)
                | (~Q(status=Status.DONE) & Q(outcome__isnull=True)),
            ),
            models.CheckConstraint(
                name="task_is_not_its_own_parent",
                condition=Q(parent__isnull=True) | ~Q(parent=F("id")),
            ),
        ]
        indexes = TASK_INDEXES

    def __str__(self) -> str:
        return self.title

    @classmethod
    def update_dependents(cls, changes: Iterable[tuple[Self, Changes]]) -> None:
        TaskCountDelta.record(changes)

    @classmethod
    def follow_changes(cls, actor: Actor, changes: Sequence[tuple[Self, Changes]]) -> None:
        follow_task_changes(actor, changes)

    @property
    def key(self) -> str:
        """The key that people use for the task, such as WEB-12. Needs the project."""
        return f"{self.project.key}-{self.number}"

    @property
    def completed(self) -> bool:
        """Whether the status is done, with either outcome."""
        return self.status == Status.DONE

    @property
    def ready(self) -> bool:
        """Whether the task is open, all blockers are done, and the project is not archived.

        The row must have been loaded by with_details().
        """
        is_workable = not self.completed and self.project.status != ProjectStatus.ARCHIVED
        return is_workable and all(b.completed for b in self.blocked_by.all())


class TaskTag(TenantModel):
    """The link between a task and one of its tags."""

    task = TenantFK(Task, models.CASCADE, related_name="+")
    tag = TenantFK(Tag, models.CASCADE, related_name="+")

    class Meta:
        base_manager_name = "objects"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "task", "tag"], name="task_tag_key"),
        ]
        indexes = [
            models.Index(fields=["tenant", "tag", "task"], name="task_tag_by_tag"),
        ]


class TaskBlocker(TenantModel):
    """The link between a task and a blocker: another task, possibly of another project, that has to
    be done before it.
    """

    task = TenantFK(Task, models.CASCADE, related_name="+")
    blocker = TenantFK(Task, models.CASCADE, related_name="+")

    class Meta:
        base_manager_name = "objects"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "task", "blocker"], name="task_blocker_key"),
            models.CheckConstraint(
                name="task_does_not_block_itself", condition=~Q(task=F("blocker"))
            ),
        ]
        indexes = [
            models.Index(fields=["tenant", "blocker", "task"], name="task_blocker_by_blocker"),
        ]
