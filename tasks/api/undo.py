"""The operation that undoes changes."""

from __future__ import annotations

from ninja import Query, Router

from taskflow.audit.actor import ActorRequest
from tasks.actions.undo.undoing import undo as undo_events
from tasks.queries.events import select_events
from tasks.schemas.tasks import Forced
from tasks.schemas.undo import OnConflict, UndoRequest, UndoResponse, undo_response

undoing = Router(tags=["Undo"])


@undoing.post("", response=UndoResponse)
def undo(request: ActorRequest, body: UndoRequest, force: Query[Forced]) -> dict[str, object]:
    """Undo a request, single events, or all changes of a user since a time.

    Fields get their former values, created rows go to the trash, and deleted rows are restored with
    their tags, blockers and numbers. 409 `cannot_undo` lists by event and field what other users
    have changed since, and what would leave an open task below a done parent or in a completed
    project, unless `force` is true; `on_conflict: skip` skips those events. `POST /plans` lists the
    changes without making them. An undo is recorded and can itself be undone. `request_id` selects
    your own changes, or those of `actor` if it is given. You need the permission to make the
    inverse change now, on the present row, whoever made the change. Events that you cannot see are
    ignored. Rows that were deleted permanently, tokens and passwords cannot be restored.
    """
    events = select_events(request.auth, body)
    skip = body.on_conflict == OnConflict.SKIP
    result = undo_events(request.auth, events, skip=skip, force=force.force)
    return undo_response(request.auth.request_id, result)
