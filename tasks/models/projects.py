"""Projects and who works in them. Start every question from visible_to(actor)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Case, F, OuterRef, Q, Subquery, Value, When
from django.db.models.functions import Upper
from django.utils import timezone

from accounts.models import User
from taskflow.db.writes import count_up
from taskflow.http.errors import NotFound
from taskflow.tenancy import (
    TenantFK,
    TenantManager,
    TenantModel,
    TenantQuerySet,
    in_any_tenant,
)
from tasks.models.tallies import TaskTally
from tasks.models.trash import LiveManager, Trashable

if TYPE_CHECKING:
    from taskflow.audit.actor import Actor

KEY = re.compile(r"[A-Z]{2,10}")
LARGEST_TEXT = 65_536  # characters
GONE = NotFound("The project has been deleted meanwhile.")


class ProjectStatus(models.TextChoices):
    ACTIVE = "active"
    ON_HOLD = "on_hold"
    COMPLETED = "completed"
    ARCHIVED = "archived"


class Role(models.TextChoices):
    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"


class ProjectQuerySet(TenantQuerySet["Project"]):
    def visible_to(self, actor: Actor) -> Self:
        """Projects the actor works in, all for staff; none outside what his token is bound to."""
        rows = self
        if actor.project_ids is not None:
            rows = rows.filter(pk__in=actor.project_ids)
        if actor.is_staff:
            return rows
        return rows.filter(pk__in=ProjectMember.objects.of(actor).values("project_id"))

    def with_details(self, actor: Actor) -> Self:
        """Everything ProjectResponse shows, in one query: counts per status and one's role."""
        role = ProjectMember.objects.of(actor).filter(project=OuterRef("pk")).values("role")
        return self.select_related("owner").annotate(
            **{
                f"{status}_count": TaskTally.total(status)
                for status in ("todo", "in_progress", "done")
            },
            role=Subquery(role),
        )


ProjectManager = LiveManager.from_queryset(ProjectQuerySet)
EveryProject = TenantManager.from_queryset(ProjectQuerySet)


class Project(Trashable):
    project_field = "id"
    # The user it was just shown to as one who works in it, so that rules need not ask again.
    shown_to: int | None = None

    key = models.CharField(
        max_length=10,
        validators=[RegexValidator(re.compile(rf"\A{KEY.pattern}\Z"), "2 to 10 capital letters.")],
    )
    name = models.CharField(max_length=255)
    description = models.TextField(blank=True, max_length=LARGEST_TEXT)
    status = models.CharField(max_length=9, choices=ProjectStatus, default=ProjectStatus.ACTIVE)
    metadata = models.JSONField(default=dict, blank=True)
    owner = TenantFK(User, models.PROTECT, related_name="owned_projects")
    # The last number given to a task. Counting up under the row's lock gives 1, 2, 3… once each.
    last_number = models.PositiveIntegerField(default=0, editable=False)
    members = models.ManyToManyField(
        User, through="ProjectMember", related_name="projects", editable=False
    )
    version = models.PositiveIntegerField(default=1, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects: ClassVar[ProjectManager[Project]] = ProjectManager()  # type: ignore[assignment]  # Self
    everything: ClassVar[EveryProject[Project]] = EveryProject()  # type: ignore[assignment]  # Self

    class Meta:
        base_manager_name = "everything"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "key"],
                name="project_key_key",  # also finds WEB in WEB-12
                violation_error_message="Another project, maybe one in the trash, has this key.",
            ),
            models.CheckConstraint(
                name="project_status_is_known", condition=Q(status__in=ProjectStatus.values)
            ),
            models.CheckConstraint(
                name="project_key_is_upper_case", condition=~Q(key="") & Q(key=Upper("key"))
            ),
            models.CheckConstraint(name="project_has_a_name", condition=~Q(name="")),
        ]
        indexes = [
            # lists: by newest, and of one status
            models.Index(fields=["tenant", "status", "id"], name="project_by_status"),
            # what does he own? asked when a user is deleted
            models.Index(fields=["tenant", "owner"], name="project_by_owner"),
            models.Index(
                fields=["tenant", "deleted_at"],
                name="project_trash",
                condition=Q(deleted_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.key} · {self.name}"

    @classmethod
    def note_changes(cls, changes: Iterable[tuple[Any, Mapping[str, list[Any]]]]) -> None:
        gone = [row.pk for row, changed in changes if changed.get("key", [None, ""])[1] is None]
        if gone:
            TaskTally.forget(gone)

    @classmethod
    def take_numbers(cls, counts: Mapping[int, int]) -> dict[int, int]:
        """Reserve as many task numbers as said for each project; return the first of each.

        Others wait until we commit. Raises NotFound when a project has been deleted meanwhile.
        """
        if len(counts) == 1:
            ((pk, count),) = counts.items()
            number = count_up(_present, pk, "last_number", count)
            if number is None:
                raise GONE
            return {pk: number - count + 1}
        rows = cls._default_manager.filter(pk__in=list(counts))
        locked = rows.order_by("pk").select_for_update(no_key=True)
        last = dict(locked.values_list("pk", "last_number"))
        if counts.keys() - last.keys():
            raise GONE
        taken = Case(*(When(pk=pk, then=Value(n)) for pk, n in counts.items()))
        rows.update(last_number=F("last_number") + taken)
        return {pk: number + 1 for pk, number in last.items()}

    @property
    def task_counts(self) -> dict[str, int]:
        """Of a row that came with_details()."""
        row: Any = self
        return {
            "todo": row.todo_count,
            "in_progress": row.in_progress_count,
            "done": row.done_count,
        }


@in_any_tenant
def _present() -> models.QuerySet[Project]:
    return Project.objects.all()


class ProjectMemberQuerySet(TenantQuerySet["ProjectMember"]):
    def of(self, actor: Actor) -> Self:
        return self.filter(user=actor.user.pk)

    def visible_to(self, actor: Actor) -> Self:
        """Memberships of the projects one sees."""
        return self.filter(project__in=Project.objects.visible_to(actor))


ProjectMemberManager = TenantManager.from_queryset(ProjectMemberQuerySet)


class ProjectMember(TenantModel):
    """One role per user and project."""

    project_field = "project_id"

    project = TenantFK(Project, models.CASCADE, related_name="memberships")
    user = TenantFK(User, models.PROTECT, related_name="memberships")
    role = models.CharField(max_length=6, choices=Role, default=Role.MEMBER)
    joined_at = models.DateTimeField(default=timezone.now, editable=False)
    version = models.PositiveIntegerField(default=1, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects: ClassVar[ProjectMemberManager[ProjectMember]] = ProjectMemberManager()  # type: ignore[assignment]  # Self

    class Meta:
        base_manager_name = "objects"
        constraints = [
            models.CheckConstraint(name="member_role_is_known", condition=Q(role__in=Role.values)),
        ]
        indexes = [
            # whose projects are these? part of every visible_to()
            models.Index(fields=["tenant", "user", "project"], name="member_by_user"),
        ]
        unique_together = [("project", "user")]  # TenantModel puts the tenant in front

    def __str__(self) -> str:
        return f"{self.user} as {self.role}"
