"""Projects and their members. Start every query from visible_to()."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Case, Exists, F, OuterRef, Q, Subquery, Value, When
from django.db.models.functions import Upper
from django.utils import timezone
from django.utils.translation import gettext, gettext_noop
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from taskflow.db.computed import FoldedField
from taskflow.db.creation_time import CreationTime
from taskflow.db.writes import increment
from taskflow.http.errors import Conflict, NotFound
from taskflow.http.schema import MAX_TEXT_LENGTH
from taskflow.tenancy import (
    Changes,
    TenantFK,
    TenantManager,
    TenantModel,
    TenantQuerySet,
    with_tenant_parameter,
)
from tasks.models.claim_checks import end_claims_in_projects
from tasks.models.count_deltas import COUNTS, TaskCountDelta
from tasks.models.trash import LiveManager, Trashable

if TYPE_CHECKING:
    from taskflow.audit.actor import Actor
    from taskflow.db.viewer import Viewer

KEY_PATTERN = re.compile(r"[A-Z][A-Z0-9]{1,9}")
PROJECT_DELETED = NotFound(gettext_noop("Another request has deleted the project."))


class ProjectStatus(models.TextChoices):
    """The status of a project."""

    ACTIVE = "active", _("Active")
    ON_HOLD = "on_hold", _("On Hold")
    COMPLETED = "completed", _("Completed")
    ARCHIVED = "archived", _("Archived")


class Role(models.TextChoices):
    """The role of a member in a project. It decides what the member may do there."""

    OWNER = "owner", _("Owner")
    ADMIN = "admin", _("Admin")
    MEMBER = "member", _("Member")


class ViewerRole(NamedTuple):
    """The role that a user has in a project, as it was read together with a row."""

    user_id: int
    role: str


class ProjectQuerySet(TenantQuerySet["Project"]):
    """Projects. The manager `objects` leaves out the trash, `everything` includes it."""

    def visible_to(self, viewer: Viewer) -> Self:
        """Return the projects of which the viewer is a member, or all projects for staff.

        With a token that is bound to projects, only those of them are visible. With a token that
        another user has created, only those of which this user is a member, or that the viewer
        owns: otherwise who creates a token for an agent would see more than by signing in.
        """
        rows = self
        if viewer.project_ids is not None:
            rows = rows.filter(pk__in=viewer.project_ids)
        if viewer.maker_id is not None:
            of_maker = ProjectMember.objects.filter(user=viewer.maker_id).values("project_id")
            rows = rows.filter(Q(pk__in=of_maker) | Q(owner=viewer.user_id))
        if viewer.is_staff:
            return rows
        return rows.filter(pk__in=ProjectMember.objects.of_viewer(viewer).values("project_id"))

    def with_details(self, viewer: Viewer) -> Self:
        """Load all fields of ProjectResponse, task counts and the viewer's role too. One query."""
        return self.select_related("owner").annotate(
            **{f"{name}_count": TaskCountDelta.total(name) for name in COUNTS},
            role=role_subquery(viewer, "pk"),
        )


ProjectManager = LiveManager.from_queryset(ProjectQuerySet)
AllProjectsManager = TenantManager.from_queryset(ProjectQuerySet)


class Project(Trashable):
    """A project: tasks, pages and members under one key, such as WEB."""

    project_field = "id"
    # The role of the user for whom the row was loaded, so that the rules cost no query. None if the
    # query did not read the role, or if the user has none.
    viewer_role: ViewerRole | None = None

    key = models.CharField(
        max_length=10,
        validators=[
            RegexValidator(
                re.compile(rf"\A{KEY_PATTERN.pattern}\Z"),
                "2 to 10 capital letters and digits, a letter first.",
            )
        ],
    )
    name = models.CharField(max_length=255)
    name_folded = FoldedField("name")
    description = models.TextField(blank=True, max_length=MAX_TEXT_LENGTH)
    status = models.CharField(max_length=9, choices=ProjectStatus, default=ProjectStatus.ACTIVE)
    metadata = models.JSONField(default=dict, blank=True)
    owner = TenantFK(User, models.PROTECT, related_name="owned_projects")
    # The number of the newest task. It is increased under a lock of this row, so that no two tasks
    # get the same number.
    last_number = models.PositiveIntegerField(default=0, editable=False)
    members = models.ManyToManyField(
        User, through="ProjectMember", related_name="projects", editable=False
    )
    version = models.PositiveIntegerField(default=1, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects: ClassVar = ProjectManager()
    everything: ClassVar = AllProjectsManager()

    class Meta:
        base_manager_name = "everything"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "key"],
                name="project_key_key",  # also finds WEB in WEB-12
                violation_error_message=_("Another project, maybe one in the trash, has this key."),
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
            # lists of projects: newest first, and with one status
            models.Index(fields=["tenant", "status", "id"], name="project_by_status"),
            # the projects of a user: the filter `owner`, and offboarding
            models.Index(fields=["tenant", "owner"], name="project_by_owner"),
            # the list of the trash, and `purge`
            models.Index(
                fields=["tenant", "deleted_at"],
                name="project_trash",
                condition=Q(deleted_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.key} · {self.name}"

    @classmethod
    def update_dependents(cls, changes: Iterable[tuple[Self, Changes]]) -> None:
        new_keys = {row.pk: changed["key"][1] for row, changed in changes if "key" in changed}
        deleted = [pk for pk, key in new_keys.items() if key is None]
        if deleted:
            TaskCountDelta.delete_for_projects(deleted)
        if given := {key: pk for pk, key in new_keys.items() if key is not None}:
            ProjectKey.store(given)

    @classmethod
    def follow_changes(cls, actor: Actor, changes: Sequence[tuple[Self, Changes]]) -> None:
        """End the claims in projects that are archived or moved to the trash."""
        end_claims_in_projects([row.pk for row, changed in changes if _is_closed(changed)])

    @classmethod
    def reserve_numbers(cls, counts: Mapping[int, int]) -> dict[int, int]:
        """Reserve numbers for new tasks: `counts[project_id]` of them, which follow each other.

        Return the first number of each project, by project id. Locks the projects until the
        transaction ends. Raises NotFound if another request has deleted a project.
        """
        if len(counts) == 1:
            ((pk, count),) = counts.items()
            number = increment(projects_outside_trash, pk, "last_number", count)
            if number is None:
                raise PROJECT_DELETED.copy()
            return {pk: number - count + 1}
        rows = cls._default_manager.filter(pk__in=list(counts))
        locked = rows.order_by("pk").select_for_update(no_key=True)
        last = dict(locked.values_list("pk", "last_number"))
        if counts.keys() - last.keys():
            raise PROJECT_DELETED.copy()
        taken = Case(*(When(pk=pk, then=Value(n)) for pk, n in counts.items()))
        rows.update(last_number=F("last_number") + taken)
        return {pk: number + 1 for pk, number in last.items()}

    def get_loaded_role(self, user_id: int) -> str | None:
        """Return the role of the user if it was loaded with this row, otherwise None. No query."""
        loaded = self.viewer_role
        return loaded.role if loaded is not None and loaded.user_id == user_id else None

    @property
    def task_counts(self) -> dict[str, int]:
        """The number of tasks by status and outcome, with the names in COUNTS.

        The row must have been loaded by with_details().
        """
        return {name: getattr(self, f"{name}_count") for name in COUNTS}


class ProjectKey(TenantModel):
    """A key that a project has or had. It finds the project for ever, and is never given to another
    one.

    The project is null after it was deleted permanently.
    """

    project = TenantFK(Project, models.SET_NULL, null=True, related_name="keys")
    key = models.CharField(max_length=10)

    class Meta:
        base_manager_name = "objects"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "key"],
                name="project_key_is_given_once",  # also finds a project by a former key
                violation_error_message=_("Another project has or had this key."),
            ),
        ]
        indexes = [
            models.Index(fields=["tenant", "project"], name="project_key_by_project"),
        ]

    def __str__(self) -> str:
        return self.key

    @classmethod
    def store(cls, project_ids: Mapping[str, int]) -> None:
        """Store the keys that projects have got, each with the id of its project.

        A project may take a former key of its own again. Raises Conflict if another project has or
        had one of the keys.
        """
        rows = cls._default_manager.filter(key__in=sorted(project_ids))
        stored = dict(rows.values_list("key", "project_id"))
        for key, project_id in stored.items():
            if project_id != project_ids[key]:
                raise Conflict(
                    gettext(
                        "The key %(key)s belonged to another project, whose tasks it still finds."
                        " Choose another key."
                    )
                    % {"key": key},
                    code="taken",
                )
        cls._default_manager.bulk_create(
            [cls(key=key, project_id=pk) for key, pk in project_ids.items() if key not in stored]
        )

    @classmethod
    def store_missing(cls) -> None:
        """Store the present keys of projects that have no row here, as after an import."""
        known = cls._default_manager.values("key")
        missing = Project.everything.exclude(key__in=known).values_list("key", "pk")
        cls._default_manager.bulk_create([cls(key=key, project_id=pk) for key, pk in missing])

    @classmethod
    def find_missing(cls) -> models.QuerySet[Project, tuple[int, str]]:
        """Return the id and present key of projects that no row here finds by this key."""
        rows = cls._default_manager.filter(project=OuterRef("pk"), key=OuterRef("key"))
        return Project.everything.filter(~Exists(rows)).order_by("pk").values_list("pk", "key")


def _is_closed(changes: Changes) -> bool:
    """Return whether the recorded changes close a project to work on its tasks."""
    is_deleted = changes.get("deleted_at", [None, None])[1] is not None
    return is_deleted or changes.get("status", [None, None])[1] == ProjectStatus.ARCHIVED


@with_tenant_parameter
def projects_outside_trash() -> models.QuerySet[Project]:
    return Project.objects.all()


class ProjectMemberQuerySet(TenantQuerySet["ProjectMember"]):
    """Memberships of users in projects."""

    def of_viewer(self, viewer: Viewer) -> Self:
        """Return the memberships of the viewer."""
        return self.filter(user=viewer.user_id)

    def with_role(self, viewer: Viewer, *roles: Role) -> Self:
        """Return the memberships of the viewer with one of these roles.

        With a token that another user has created, only those in projects in which this user has
        one of the roles too, or that the viewer owns: see tasks.rules.require_role().
        """
        rows = self.of_viewer(viewer).filter(role__in=roles)
        if viewer.maker_id is None:
            return rows
        of_maker = ProjectMember.objects.filter(user=viewer.maker_id, role__in=roles)
        is_owner = Q(project__owner=viewer.user_id)
        return rows.filter(Q(project__in=of_maker.values("project_id")) | is_owner)

    def visible_to(self, viewer: Viewer) -> Self:
        """Return the memberships in projects that are visible."""
        return self.filter(project__in=Project.objects.visible_to(viewer))


def role_subquery(viewer: Viewer, project: str) -> Subquery:
    """Return a subquery for the viewer's role in the project of each row; null for a non-member.

    `project` is the path of foreign keys from the row to its project: `pk` for a project itself.
    The fields of `viewer` may be parameters of a query that is compiled once.
    """
    memberships = ProjectMember.objects.of_viewer(viewer).filter(project=OuterRef(project))
    return Subquery(memberships.values("role"))


ProjectMemberManager = TenantManager.from_queryset(ProjectMemberQuerySet)


class ProjectMember(TenantModel):
    """The membership of a user in a project, with the user's one role in it."""

    project_field = "project_id"

    project = TenantFK(Project, models.CASCADE, related_name="memberships")
    user = TenantFK(User, models.PROTECT, related_name="memberships")
    role = models.CharField(max_length=6, choices=Role, default=Role.MEMBER)
    joined_at = models.DateTimeField(default=timezone.now, editable=False)
    version = models.PositiveIntegerField(default=1, editable=False)
    created_at = CreationTime()
    updated_at = models.DateTimeField(auto_now=True)

    objects: ClassVar = ProjectMemberManager()

    class Meta:
        base_manager_name = "objects"
        constraints = [
            models.CheckConstraint(name="member_role_is_known", condition=Q(role__in=Role.values)),
        ]
        indexes = [
            # the projects of a user, which every visible_to() selects
            models.Index(fields=["tenant", "user", "project"], name="member_by_user"),
        ]
        unique_together = [("project", "user")]  # TenantModel puts the tenant in front

    def __str__(self) -> str:
        return f"{self.user} as {self.role}"
