"""Operations on stored views of tasks."""

from __future__ import annotations

from typing import Any

from ninja import Query, Router, Status

from taskflow.audit.actor import Actor, ActorRequest
from taskflow.http.paging import PageContents, PageParams, paginate
from taskflow.http.schema import In
from tasks.actions import views as actions
from tasks.models import View
from tasks.queries.lookup import find_row
from tasks.schemas.views import (
    ViewCreate,
    ViewListResponse,
    ViewResponse,
    ViewUpdate,
    read_view_where,
)

views = Router(tags=["Views"])


@views.get("", response=ViewListResponse)
def list_views(request: ActorRequest, page: Query[PageParams]) -> PageContents[View]:
    """List your own views and those that others share with the tenant, by name.

    A token that is bound to projects shows your own views only.
    """
    rows = View.objects.visible_to(request.auth.viewer).select_related("owner")
    return paginate(rows, page, order=["name_folded"])


@views.post("", response={201: ViewResponse})
def create_view(request: ActorRequest, body: ViewCreate) -> Status[View]:
    """Store filters of tasks under a name. You become the owner of the view.

    `GET /tasks?view=1` lists its tasks, and so do the filter `view` of counts, of CSV files, of a
    `where` in bulk requests, and of `POST /claims`, for which the view is a queue. Everybody sees
    in it the tasks that they may see. 422 for a project, user or task that you cannot see. 403 for
    a token that is bound to projects.
    """
    return Status(201, actions.create_view(request.auth, **_read_values(request.auth, body)))


@views.get("/{id:view_id}", response=ViewResponse)
def get_view(request: ActorRequest, view_id: int) -> View:
    """Get a view of your own or one that is shared."""
    return find_row(request.auth, View, view_id)


@views.api_operation(["PATCH", "PUT"], "/{id:view_id}", response=ViewResponse)
def update_view(request: ActorRequest, view_id: int, body: ViewUpdate) -> View:
    """Change the fields that are sent. PUT behaves like PATCH. `where` replaces all filters.

    For the owner, and for administrators if the view is shared.
    """
    view = find_row(request.auth, View, view_id)
    return actions.update_view(request.auth, view, **_read_values(request.auth, body))


@views.delete("/{id:view_id}", response={204: None})
def delete_view(request: ActorRequest, view_id: int) -> Status[None]:
    """Delete a view. Its tasks stay. For the owner, and for administrators if it is shared."""
    actions.delete_view(request.auth, find_row(request.auth, View, view_id))
    return Status(204, None)


def _read_values(actor: Actor, body: In) -> dict[str, Any]:
    """Return the sent fields. Raises Invalid for filters that name what the actor cannot see."""
    values = body.sent_fields()
    if where := values.get("where"):
        values["where"] = read_view_where(actor, where)
    return values
