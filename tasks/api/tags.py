"""Operations on tags."""

from __future__ import annotations

from ninja import Query, Router, Status

from taskflow.audit.actor import ActorRequest
from taskflow.db.expressions import contains_text
from taskflow.db.text import fold
from taskflow.http.paging import PageContents, paginate
from tasks.actions import tags as actions
from tasks.models import Tag
from tasks.queries.lookup import find_row
from tasks.schemas.tags import TagCreate, TagFilters, TagListResponse, TagResponse, TagUpdate

tags = Router(tags=["Tags"])


@tags.get("", response=TagListResponse)
def list_tags(request: ActorRequest, filters: Query[TagFilters]) -> PageContents[Tag]:
    """List the tags of the tenant by name.

    A token bound to projects shows the tags of the tasks in them.
    """
    rows = Tag.objects.visible_to(request.auth.viewer)
    if text := filters.sent_fields().get("q"):
        rows = rows.filter(contains_text(fold(text), "name_folded"))
    return paginate(rows, filters, order=["name_folded"])


@tags.post("", response={201: TagResponse})
def create_tag(request: ActorRequest, body: TagCreate) -> Status[Tag]:
    """Create a tag. 409 if there is a tag of this name, without regard to case.

    Returns 403 for a token that is bound to projects. It may name new tags in a task.
    """
    return Status(201, actions.create_tag(request.auth, name=body.name, color=body.color))


@tags.get("/{id:tag_id}", response=TagResponse)
def get_tag(request: ActorRequest, tag_id: int) -> Tag:
    """Get a tag."""
    return find_row(request.auth, Tag, tag_id)


@tags.api_operation(["PATCH", "PUT"], "/{id:tag_id}", response=TagResponse)
def update_tag(request: ActorRequest, tag_id: int, body: TagUpdate) -> Tag:
    """Change the name or color of a tag, on all tasks that have it. For administrators."""
    return actions.update_tag(
        request.auth, find_row(request.auth, Tag, tag_id), **body.sent_fields()
    )


@tags.delete("/{id:tag_id}", response={204: None})
def delete_tag(request: ActorRequest, tag_id: int) -> Status[None]:
    """Delete a tag and remove it from all tasks. For administrators."""
    actions.delete_tag(request.auth, find_row(request.auth, Tag, tag_id))
    return Status(204, None)
