"""The rows in the trash that an actor can see."""

from __future__ import annotations

from django.db.models import F, Q, QuerySet

from taskflow.audit.actor import Actor
from taskflow.audit.resource_types import ResourceType
from taskflow.http.errors import NotFound
from tasks.models.registry import TRASHABLE_TYPES, project_path
from tasks.models.trash import Trashable


def select_trash_by_type(actor: Actor) -> dict[str, QuerySet[Trashable]]:
    """Return the rows in the trash by the name of their resource type, each with its project.

    They are the rows that the actor could see if they were not deleted. Rows that were deleted
    together are one entry: subtasks are restored with their task, and the rows of a project with
    the project.
    """
    return {t.name: _select_trash(actor, t) for t in TRASHABLE_TYPES}


def _select_trash(actor: Actor, resource_type: ResourceType) -> QuerySet[Trashable]:
    rows = resource_type.model._base_manager.visible_to(actor.viewer).filter(
        deleted_at__isnull=False
    )
    if parent := resource_type.parent:
        is_top = Q(**{f"{parent}__isnull": True}) | Q(**{f"{parent}__deleted_at__isnull": True})
        rows = rows.filter(is_top | ~Q(**{f"{parent}__deleted_at": F("deleted_at")}))
    path = project_path(resource_type.model)
    with_project: QuerySet[Trashable] = rows if path in (None, "pk") else rows.select_related(path)
    return with_project


def find_in_trash(actor: Actor, type_name: str, row_id: int) -> Trashable:
    """Return a row of this type that is in the trash and visible. Raises NotFound."""
    row: Trashable | None = select_trash_by_type(actor)[type_name].filter(pk=row_id).first()
    if row is None:
        raise NotFound(f"There is no such {type_name} in the trash.")
    return row
