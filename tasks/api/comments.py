"""Comments on tasks."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Query, Router
from ninja import Status as Answer

from taskflow.audit.actor import ActorRequest
from tasks.actions import comments as actions
from tasks.api.responses import detail_response, list_response, updated_response
from tasks.models import Comment
from tasks.queries.lookup import find_comment, resolve
from tasks.schemas.comments import (
    CommentCreate,
    CommentFilters,
    CommentPage,
    CommentResponse,
    CommentUpdate,
)

comments = Router(tags=["Comments"])


@comments.get("", response=CommentPage)
def list_comments(request: ActorRequest, filters: Query[CommentFilters]) -> HttpResponse:
    """Comments on the tasks you can see, in the order they were written."""
    return list_response(request, Comment, filters, order=["id"])


@comments.post("", response={201: CommentResponse})
def create_comment(request: ActorRequest, body: CommentCreate) -> HttpResponse:
    """Say something about a task of a project you work in."""
    comment = actions.create_comment(request.auth, **resolve(request.auth, body.sent()))
    return updated_response(request, comment, status=201)


@comments.get("/{id:comment_id}", response=CommentResponse)
def get_comment(request: ActorRequest, comment_id: int) -> HttpResponse:
    """One comment."""
    return detail_response(request, Comment, pk=comment_id)


@comments.api_operation(["PATCH", "PUT"], "/{id:comment_id}", response=CommentResponse)
def update_comment(request: ActorRequest, comment_id: int, body: CommentUpdate) -> HttpResponse:
    """Write it anew. For its author alone."""
    comment = find_comment(request.auth, comment_id)
    actions.update_comment(request.auth, comment, body=body.body)
    return updated_response(request, comment)


@comments.delete("/{id:comment_id}", response={204: None})
def delete_comment(request: ActorRequest, comment_id: int) -> Answer[None]:
    """Move it to the trash. For its author and the project's owners and admins."""
    actions.delete_comment(request.auth, find_comment(request.auth, comment_id))
    return Answer(204, None)
