"""Actions on rows in the trash: restore them, or delete them permanently (purge)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db.models import Exists, OuterRef
from django.utils.translation import gettext_noop

from taskflow.audit.actor import Actor
from taskflow.audit.recorder import change_all, lock_all, remove_all
from taskflow.audit.resource_types import ResourceType, type_of_model
from taskflow.http.errors import NotFound
from tasks.actions.ownership import replace_inactive_owner
from tasks.changes.tasks import restore_task
from tasks.models import RESOURCE_TYPES, Project, Role, Task
from tasks.models.graph import find_reachable, load_subtask_edges
from tasks.models.registry import require_project
from tasks.models.trash import Trashable
from tasks.rules import (
    MANAGERS,
    require_author_or_manager,
    require_member,
    require_role,
    require_unarchived,
)

CHUNK = 200  # rows that one statement deletes, and one transaction of `purge`


def restore(actor: Actor, row: Trashable, *, force: bool = False) -> None:
    """Restore a row, with the rows that were deleted together with it.

    Requires the permission to delete the row. Raises Conflict if its parent is in the trash, and
    for an open task whose parent is done, unless `force` is set. A project whose owner is
    deactivated gets another one: see replace_inactive_owner().
    """
    if isinstance(row, Project):
        _restore_project(actor, row)
    elif isinstance(row, Task):
        restore_task(actor, row, force=force)
    else:
        _restore_in_project(actor, row)


def _restore_project(actor: Actor, project: Project) -> None:
    require_role(actor, project, Role.OWNER)
    replace_inactive_owner(actor, project)
    _restore_rows(actor, Project, [project.pk])


def _restore_in_project(actor: Actor, row: Trashable) -> None:
    """Restore a row. Requires its author, or an owner or admin of the project. If rows of its type
    have no author, every member may restore them.
    """
    author = type_of_model(type(row)).author
    _lock_task_of(row)
    if author is None:
        require_member(actor, require_project(row))
    else:
        if row._meta.get_field(author).editable:
            # The author may have changed since the row was read.
            lock_all([row], author)
        require_author_or_manager(actor, require_project(row), getattr(row, f"{author}_id"))
    _restore_rows(actor, type(row), [row.pk])


def _lock_task_of(row: Any) -> None:
    """Lock the task to which the row belongs, if any: it could be moved to a project in which the
    actor has fewer rights. Raises Contended if it has been moved.
    """
    resource_type = type_of_model(type(row))
    if resource_type.owner_model is Task:
        lock_all([getattr(row, resource_type.belongs_to or "")])


def _restore_rows(
    actor: Actor, model: Any, ids: list[int], deleted_at: datetime | None = None
) -> None:
    rows = model.everything.filter(pk__in=ids, deleted_at__isnull=False)
    if deleted_at is not None:
        rows = rows.filter(deleted_at=deleted_at)
    change_all(actor, rows, "restored", deleted_at=None)


def purge(actor: Actor, row: Trashable) -> None:
    """Delete a row of the trash permanently, with all rows that belong to it. Its events stay.

    Requires an owner or admin of the project; for a project itself, an owner. Raises NotFound if
    the row is no longer in the trash.
    """
    _lock_task_of(row)
    roles = (Role.OWNER,) if isinstance(row, Project) else MANAGERS
    project = require_project(row)
    require_role(actor, project, *roles)
    if project.pk != row.pk or not isinstance(row, Project):
        require_unarchived(project)
    if not _lock_in_trash(row):
        raise NotFound(gettext_noop("This is no longer in the trash."))
    _purge_with_children(actor, row)


def purge_older(actor: Actor, resource_type: ResourceType, before: datetime) -> bool | None:
    """Purge a row of the type that was deleted before this time, or CHUNK rows that belong to it.

    Call it again and again, in a transaction each time. Return whether the row itself is purged;
    None if there is no such row. Whoever restores the row meanwhile gets back what is left of it:
    its time in the trash is over.
    """
    rows = resource_type.all_rows().filter(deleted_at__lt=before).order_by("pk")
    row = rows.first()
    if row is None:
        return None
    if not _lock_in_trash(row):
        return False
    return _purge_part(actor, row)


def _lock_in_trash(row: Trashable) -> bool:
    """Lock the row until the transaction ends, so that no other transaction restores or purges it.
    Return whether it is still in the trash.
    """
    rows: Any = type(row)._base_manager.filter(pk=row.pk, deleted_at__isnull=False)
    if isinstance(row, Task):  # otherwise a subtask added now would be deleted without an event
        projects = Project.everything.filter(pk=row.project_id)
        projects.select_for_update(no_key=True).values("pk").first()
        rows = rows.filter(project=row.project_id)
    return rows.select_for_update(of=("self",)).values("pk").first() is not None


def _purge_with_children(actor: Actor, row: Trashable) -> None:
    """Delete the row, and all rows that belong to it, each with an event."""
    for resource_type, conditions in _select_with_children(row):
        while _remove_some(actor, resource_type, **conditions):
            pass


def _purge_part(actor: Actor, row: Trashable) -> bool:
    """Delete up to CHUNK rows that belong to the row, or it, each with an event. Return whether
    nothing is left of it.
    """
    for resource_type, conditions in _select_with_children(row):
        if removed := _remove_some(actor, resource_type, **conditions):
            return row.pk in removed and resource_type.model is type(row)
    return True  # another transaction has deleted the row


def _select_with_children(row: Trashable) -> Iterator[tuple[ResourceType, dict[str, object]]]:
    """Yield the types of which rows belong to the row, with conditions that select these rows.

    In the reverse order of the registry. If a row were deleted before the rows that belong to it,
    the database would delete those by a cascade, without events.
    """
    model, ids = type(row), [row.pk]
    if type_of_model(model).parent:
        ids = sorted(find_reachable(load_subtask_edges(ids), ids))
    for resource_type in reversed(RESOURCE_TYPES):
        if path := resource_type.path_to(model):
            yield resource_type, {f"{path}__in": ids}


def _remove_some(actor: Actor, resource_type: ResourceType, **conditions: object) -> list[int]:
    """Delete up to CHUNK rows that satisfy the conditions. Return their ids.

    Children are deleted before their parents. A deleted parent would delete its children by a
    cascade, without events.
    """
    rows = resource_type.all_rows().filter(**conditions)
    if name := resource_type.parent:
        children = resource_type.model._base_manager.filter(**{name: OuterRef("pk")})
        rows = rows.filter(~Exists(children))
    ids = list(rows.values_list("pk", flat=True)[:CHUNK])
    if ids:
        remove_all(actor, rows.filter(pk__in=ids), "purged")
    return ids
