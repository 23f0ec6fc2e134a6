"""Operations on the trash."""

from __future__ import annotations

from ninja import Query, Router, Status

from taskflow.audit.actor import ActorRequest
from taskflow.http.filtering import select_values
from taskflow.http.paging import paginate_models
from tasks.actions import trash as actions
from tasks.queries.trash import find_in_trash, select_trash_by_type
from tasks.schemas.tasks import Forced
from tasks.schemas.trash import TrashFilters, TrashItem, TrashKind, TrashListResponse, trash_item

trash = Router(tags=["Trash"])


@trash.get("", response=TrashListResponse)
def list_trash(request: ActorRequest, filters: Query[TrashFilters]) -> dict[str, object]:
    """List the rows in the trash, the latest deleted first.

    A task that was deleted with its subtasks is one entry, as is a project with everything in it.
    """
    rows = select_trash_by_type(request.auth)
    selected = {kind: rows[kind] for kind in select_values(filters, "kind", rows)}
    page = paginate_models(selected, filters, time_field="deleted_at")
    return page | {"data": [trash_item(kind, row) for kind, row in page["data"]]}


@trash.post("/{kind}/{id:row_id}/restoration", response=TrashItem)
def restore(
    request: ActorRequest, kind: TrashKind, row_id: int, force: Query[Forced]
) -> dict[str, object]:
    """Restore a row, with the rows that were deleted together with it.

    You need the permission to delete the row. 409 if its parent, its task or its project is in the
    trash. 409 `parent_done` for an open task whose parent is done, unless `force` is true.
    """
    row = find_in_trash(request.auth, kind, row_id)
    actions.restore(request.auth, row, force=force.force)
    return trash_item(kind, row)


@trash.delete("/{kind}/{id:row_id}", response={204: None})
def purge(request: ActorRequest, kind: TrashKind, row_id: int) -> Status[None]:
    """Delete a row permanently. For owners and admins of the project; a project for its owners."""
    actions.purge(request.auth, find_in_trash(request.auth, kind, row_id))
    return Status(204, None)
