"""The rows in the trash that an actor can see."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.db.models import F, Q, QuerySet
from django.utils.translation import gettext

from taskflow.audit.actor import Actor
from taskflow.audit.resource_types import ResourceType, resource_types, type_of_model
from taskflow.http.errors import Conflict, NotFound
from tasks.models import Project
from tasks.models.graph import find_reachable, load_subtask_edges
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
    """Return a row of this type that is in the trash and visible.

    Raises Conflict if it belongs to a row that is itself in the trash, and otherwise NotFound. Two
    queries more for a row that is not found.
    """
    row: Trashable | None = select_trash_by_type(actor)[type_name].filter(pk=row_id).first()
    if row is None:
        _check_owners(actor, resource_types()[type_name], row_id)
        raise NotFound(gettext("There is no such %(kind)s in the trash.") % {"kind": type_name})
    return row


def _check_owners(actor: Actor, resource_type: ResourceType, row_id: int) -> None:
    """Raise Conflict if a task or project to which the row belongs is in the trash.

    The row has to be one that the actor could see otherwise.
    """
    path = project_path(resource_type.model)
    if path in (None, "pk"):
        return
    projects = Project.everything.visible_to(actor.viewer)
    rows = resource_type.rows_visible_within_project(actor.viewer).filter(
        **{"pk": row_id, "deleted_at__isnull": False, f"{path}__in": projects}
    )
    row = rows.select_related(path).first()
    while row is not None and (name := type_of_model(type(row)).belongs_to):
        row = getattr(row, name)
        if row.deleted_at is not None:
            owner = type_of_model(type(row)).name
            raise Conflict(
                f"The {owner} that it belongs to, {row.key}, is in the trash. Restore the {owner}"
                f" first, with POST /api/v1/trash/{owner}/{row.pk}/restoration.",
                code="in_trash",
            )


def count_deleted(row: Trashable) -> dict[str, int]:
    """Return how many rows have gone to the trash with this one, by type: `{"tasks": 3}`.

    The row itself counts, and of a task, the subtasks that were deleted with it. Comments and
    pages that were in the trash before do not count. One query per type that can belong to the row.
    """
    return _count_with_children(type(row), [row.pk], row.deleted_at)


def count_to_delete(model: type[Trashable], ids: Iterable[int]) -> dict[str, int]:
    """Return how many rows would go to the trash with these rows outside it, by type.

    Each row counts once, as count_deleted() would count it. One query per type.
    """
    return _count_with_children(model, list(ids), None)


def _count_with_children(
    model: type[Trashable], ids: list[int], deleted_at: datetime | None
) -> dict[str, int]:
    """Count the rows with these ids, all deleted at this time, and those that belong to them."""
    if type_of_model(model).parent:
        below = find_reachable(load_subtask_edges(ids), ids)
        together = model._base_manager.filter(pk__in=sorted(below), deleted_at=deleted_at)
        ids = list(together.values_list("pk", flat=True))
    counts = {}
    for resource_type in TRASHABLE_TYPES:
        if resource_type.model is model:
            counts[f"{resource_type.name}s"] = len(ids)
        elif path := resource_type.path_to(model):
            rows = resource_type.model.objects.filter(**{f"{path}__in": ids})
            if "__" in path:  # comments of tasks that were in the trash before do not count
                rows = rows.filter(**{f"{resource_type.belongs_to}__deleted_at__isnull": True})
            counts[f"{resource_type.name}s"] = rows.count()
    return counts
