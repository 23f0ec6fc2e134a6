"""Tags, which all tasks of a tenant share."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar, Self

from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Exists, OuterRef, Q
from django.utils.translation import gettext_lazy

from taskflow.db.computed import FoldedField
from taskflow.db.creation_time import CreationTime
from taskflow.tenancy import TenantManager, TenantModel, TenantQuerySet

if TYPE_CHECKING:
    from taskflow.db.viewer import Viewer

MAX_NAME = 100  # characters
COLOR_PATTERN = re.compile(r"#[0-9A-Fa-f]{6}")


class TagQuerySet(TenantQuerySet["Tag"]):
    """Tags. Their names are unique in the tenant, without regard to case."""

    def visible_to(self, viewer: Viewer) -> Self:
        """Return all tags of the tenant, which every user of it may see.

        A token bound to projects shows the tags of the tasks that it shows.
        """
        if viewer.project_ids is None:
            return self.all()
        # Tasks in the trash of a project show their tags there.
        links = Tag.tasks.through.objects.filter(
            tag=OuterRef("pk"),
            task__project__pk__in=viewer.project_ids,
            task__project__deleted_at__isnull=True,
        )
        if not viewer.is_staff:
            links = links.filter(task__project__memberships__user__pk=viewer.user_id)
        return self.filter(Exists(links))


TagManager = TenantManager.from_queryset(TagQuerySet)


class Tag(TenantModel):
    """A name, and optionally a color, that any number of tasks of the tenant have."""

    name = models.CharField(max_length=MAX_NAME)
    name_folded = FoldedField("name")
    color = models.CharField(
        max_length=7,
        null=True,
        blank=True,
        validators=[
            RegexValidator(re.compile(rf"\A{COLOR_PATTERN.pattern}\Z"), "Write it as #1F6FEB.")
        ],
    )
    version = models.PositiveIntegerField(default=1, editable=False)
    created_at = CreationTime()
    updated_at = models.DateTimeField(auto_now=True)

    objects: ClassVar = TagManager()

    class Meta:
        base_manager_name = "objects"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "name_folded"],
                name="tag_name_key",  # also finds tags by name, and lists them in order
                violation_error_message=gettext_lazy(
                    "A tag of this name exists; case does not count."
                ),
            ),
            models.CheckConstraint(name="tag_has_a_name", condition=~Q(name="")),
        ]

    def __str__(self) -> str:
        return self.name
