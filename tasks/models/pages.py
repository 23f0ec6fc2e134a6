"""Pages of projects. Start every query from visible_to()."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from django.db import models
from django.db.models import Q

from accounts.models import User
from taskflow.db.computed import FoldedField, WordsField
from taskflow.http.schema import MAX_TEXT_LENGTH
from taskflow.tenancy import TenantFK, TenantManager, TenantQuerySet
from tasks.models.projects import Project, ProjectMember, Role
from tasks.models.trash import LiveManager, Trashable

if TYPE_CHECKING:
    from taskflow.db.viewer import Viewer


class PageQuerySet(TenantQuerySet["Page"]):
    """Pages. The manager `objects` leaves out the trash, `everything` includes it."""

    def visible_to(self, viewer: Viewer) -> Self:
        """Return the published pages of visible projects, and the drafts that the viewer owns or
        whose project the viewer manages.
        """
        projects = Project.objects.visible_to(viewer)
        return self.visible_within_project(viewer).filter(project__in=projects)

    def visible_within_project(self, viewer: Viewer) -> Self:
        """Return the published pages, and the drafts that the viewer owns or whose project the
        viewer manages. The caller must check that the projects are visible.
        """
        if viewer.is_staff:
            return self.all()
        return self.filter(Q(is_published=True) | _may_see_draft(viewer))

    def visible_as_drafts(self, viewer: Viewer) -> Self:
        """Return the pages that the viewer could see as drafts, published ones too. The caller must
        check that the projects are visible.
        """
        return self.all() if viewer.is_staff else self.filter(_may_see_draft(viewer))


def _may_see_draft(viewer: Viewer) -> Q:
    managed = ProjectMember.objects.with_role(viewer, Role.OWNER, Role.ADMIN)
    return Q(owner=viewer.user_id) | Q(project__in=managed.values("project_id"))


PageManager = LiveManager.from_queryset(PageQuerySet)
AllPagesManager = TenantManager.from_queryset(PageQuerySet)


class Page(Trashable):
    """A document in markdown that belongs to a project: a draft, or published."""

    derived = frozenset({"published_at"})
    project_field = "project_id"
    published_field = "is_published"

    project = TenantFK(Project, models.CASCADE, related_name="pages")
    title = models.CharField(max_length=255)
    title_folded = FoldedField("title")
    title_words = WordsField("title")
    body = models.TextField(blank=True, max_length=MAX_TEXT_LENGTH)  # markdown, stored as written
    body_words = WordsField("body")
    is_published = models.BooleanField("published", default=False, editable=False)
    published_at = models.DateTimeField(null=True, editable=False)
    owner = TenantFK(User, models.PROTECT, related_name="pages")
    version = models.PositiveIntegerField(default=1, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects: ClassVar = PageManager()
    everything: ClassVar = AllPagesManager()

    class Meta:
        base_manager_name = "everything"
        constraints = [
            models.CheckConstraint(name="page_has_a_title", condition=~Q(title="")),
            models.CheckConstraint(
                name="page_is_published_since",
                condition=Q(is_published=True, published_at__isnull=False)
                | Q(is_published=False, published_at__isnull=True),
            ),
        ]
        indexes = [
            # the pages of a project, all of them or only published ones
            models.Index(
                fields=["tenant", "project", "is_published", "id"], name="page_by_project"
            ),
            # the pages of a user: the filter `owner`, and offboarding
            models.Index(fields=["tenant", "owner", "id"], name="page_by_owner"),
            # searching for common words: the latest changed pages
            models.Index(
                fields=["tenant", "updated_at", "id"],
                name="page_by_change",
                condition=Q(deleted_at__isnull=True),
            ),
            # the list of the trash, and `purge`
            models.Index(
                fields=["tenant", "deleted_at"],
                name="page_trash",
                condition=Q(deleted_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.title
