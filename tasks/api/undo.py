"""Taking back what was done."""

from __future__ import annotations

from typing import Any

from ninja import Router

from taskflow.audit.actor import ActorRequest
from tasks.actions.undo import undo as take_back
from tasks.queries.events import select_events
from tasks.schemas.undo import OnConflict, UndoRequest, UndoResponse, undo_response

undoing = Router(tags=["Undo"])


@undoing.post("", response=UndoResponse)
def undo(request: ActorRequest, body: UndoRequest) -> dict[str, Any]:
    """Take back a request, single events, or all that somebody did since an instant.

    Field by field, newest first: what was changed gets its value back, what was made goes to the
    trash, what was deleted returns, with its tags, blockers and old number. 409 `cannot_undo` lists
    what others have changed since, by event and field; with `on_conflict: skip` that is left out.
    dry_run=true shows the plan. An undo is on record and can be undone. `request_id` means what you
    did under it; `actor` beside it names somebody else. You need the right to make the inverse
    change now, on the row where it is now; what others did takes the project's owners and admins.
    What you cannot see now is absent. What was deleted for good does not return, nor tokens and
    passwords.
    """
    events = select_events(request.auth, body)
    done = take_back(request.auth, events, skip=body.on_conflict == OnConflict.SKIP)
    return undo_response(request.auth.request_id, done)
