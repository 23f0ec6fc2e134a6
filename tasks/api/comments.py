"""Operations on comments."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Query, Router

from taskflow.audit.actor import ActorRequest
from taskflow.http.fields import RowParams
from taskflow.http.query_parameters import with_query
from tasks.actions import comments as actions
from tasks.api.responses import deleted_response, detail_response, list_response, updated_response
from tasks.models import Comment
from tasks.queries.lookup import find_row
from tasks.queries.references import resolve
from tasks.schemas.comments import (
    CommentCreate,
    CommentFilters,
    CommentListResponse,
    CommentResponse,
    CommentUpdate,
)
from tasks.schemas.trash import Deletion

comments = Router(tags=["Comments"])


@comments.get("", response=CommentListResponse)
def list_comments(request: ActorRequest, filters: Query[CommentFilters]) -> HttpResponse:
    """List the comments on the tasks that you can see, in the order in which they were written."""
    return list_response(request, Comment, filters, order=["id"])


@comments.post("", response={201: CommentResponse})
def create_comment(request: ActorRequest, body: CommentCreate) -> HttpResponse:
    """Add a comment to a task of a project that you are a member of."""
    comment = actions.create_comment(request.auth, **resolve(request.auth, body.sent_fields()))
    return updated_response(request, comment, status=201)


@comments.get("/{id:comment_id}", response=CommentResponse, openapi_extra=with_query(RowParams))
def get_comment(request: ActorRequest, comment_id: int) -> HttpResponse:
    """Get a comment."""
    return detail_response(request, Comment, pk=comment_id)


@comments.api_operation(["PATCH", "PUT"], "/{id:comment_id}", response=CommentResponse)
def update_comment(request: ActorRequest, comment_id: int, body: CommentUpdate) -> HttpResponse:
    """Replace the text of a comment. For its author only."""
    comment = find_row(request.auth, Comment, comment_id)
    actions.update_comment(request.auth, comment, body=body.body)
    return updated_response(request, comment)


@comments.delete("/{id:comment_id}", response={200: Deletion, 204: None})
def delete_comment(request: ActorRequest, comment_id: int) -> HttpResponse:
    """Move a comment to the trash. For its author and the owners and admins of the project.

    204 without a body. With `Prefer: return=representation` the answer is 200 and contains how many
    rows went to the trash.
    """
    comment = find_row(request.auth, Comment, comment_id)
    actions.delete_comment(request.auth, comment)
    return deleted_response(request, comment)
