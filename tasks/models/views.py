"""Stored views of tasks: filters with a name, an order and a layout."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from taskflow.db.computed import FoldedField
from taskflow.db.creation_time import CreationTime
from taskflow.tenancy import TenantFK, TenantManager, TenantModel, TenantQuerySet

if TYPE_CHECKING:
    from taskflow.db.viewer import Viewer

MAX_VIEW_NAME = 100  # characters
MAX_SORT = 100  # characters


class Layout(models.TextChoices):
    """How the tasks of a view are shown."""

    LIST = "list", _("List")
    BOARD = "board", _("Board")
    CALENDAR = "calendar", _("Calendar")
    TIMELINE = "timeline", _("Timeline")


class BoardGrouping(models.TextChoices):
    """What the columns of a board and the groups of a timeline are."""

    STATUS = "status", _("Status")
    ASSIGNEE = "assignee", _("Assignee")


class ViewQuerySet(TenantQuerySet["View"]):
    def visible_to(self, viewer: Viewer) -> Self:
        """Return the views of the viewer, and those that others share with the tenant.

        A view contains names of projects, people and tags. A token that is bound to projects shows
        the views of its user only.
        """
        own = Q(owner=viewer.user_id)
        return self.filter(own if viewer.project_ids is not None else own | Q(is_shared=True))


class View(TenantModel):
    """Filters of tasks with a name. What a view lists depends on who reads it: the tasks that match
    and are visible to this user.

    `where` holds the filters as the `where` of a bulk request does. It names rows by keys and
    handles, not by ids, which an import changes.
    """

    owner = TenantFK(User, models.CASCADE, related_name="views")
    name = models.CharField(max_length=MAX_VIEW_NAME)
    name_folded = FoldedField("name")
    is_shared = models.BooleanField("shared", default=False)
    where = models.JSONField("filters")
    sort = models.CharField(max_length=MAX_SORT, null=True, blank=True)  # as of GET /tasks
    layout = models.CharField(max_length=8, choices=Layout, default=Layout.LIST)
    group_by = models.CharField(max_length=8, choices=BoardGrouping, default=BoardGrouping.STATUS)
    version = models.PositiveIntegerField(default=1, editable=False)
    created_at = CreationTime()
    updated_at = models.DateTimeField(auto_now=True)

    objects: ClassVar = TenantManager.from_queryset(ViewQuerySet)()

    class Meta:
        base_manager_name = "objects"
        constraints = [
            models.CheckConstraint(name="view_has_a_name", condition=~Q(name="")),
            models.CheckConstraint(
                name="view_layout_is_known", condition=Q(layout__in=Layout.values)
            ),
            models.CheckConstraint(
                name="view_grouping_is_known", condition=Q(group_by__in=BoardGrouping.values)
            ),
        ]
        indexes = [
            models.Index(fields=["tenant", "owner"], name="view_owner"),  # the views of a user
            models.Index(
                fields=["tenant", "name_folded"],
                name="view_shared",  # the list of the views that are shared
                condition=Q(is_shared=True),
            ),
        ]

    def __str__(self) -> str:
        return self.name
