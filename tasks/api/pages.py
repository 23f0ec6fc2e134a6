"""Operations on pages."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Query, Router

from taskflow.audit.actor import ActorRequest
from taskflow.http.fields import RowParams
from taskflow.http.query_parameters import with_query
from tasks.actions import pages as actions
from tasks.api.responses import deleted_response, detail_response, list_response, updated_response
from tasks.models import Page
from tasks.queries.filters import PAGE_SORTS
from tasks.queries.lookup import find_row
from tasks.queries.references import resolve
from tasks.schemas.pages import PageCreate, PageFilters, PageListResponse, PageResponse, PageUpdate
from tasks.schemas.trash import Deletion

pages = Router(tags=["Pages"])


@pages.get("", response=PageListResponse)
def list_pages(request: ActorRequest, filters: Query[PageFilters]) -> HttpResponse:
    """List the pages that you can see, newest first unless `sort` is given.

    Drafts are visible to their owner and to the owners and admins of the project.
    """
    return list_response(request, Page, filters, sorts=PAGE_SORTS)


@pages.post("", response={201: PageResponse})
def create_page(request: ActorRequest, body: PageCreate) -> HttpResponse:
    """Create a page in a project that you are a member of. It is a draft unless `is_published`."""
    page = actions.create_page(request.auth, **resolve(request.auth, body.sent_fields()))
    return updated_response(request, page, status=201)


@pages.get("/{id:page_id}", response=PageResponse, openapi_extra=with_query(RowParams))
def get_page(request: ActorRequest, page_id: int) -> HttpResponse:
    """Get a page."""
    return detail_response(request, Page, pk=page_id)


@pages.api_operation(["PATCH", "PUT"], "/{id:page_id}", response=PageResponse)
def update_page(request: ActorRequest, page_id: int, body: PageUpdate) -> HttpResponse:
    """Change the fields that are sent. For its owner and the owners and admins of the project.

    PUT does the same: absent fields stay as they are. 422 if the new owner is not a member of the
    project.
    """
    values = resolve(request.auth, body.sent_fields())
    page = actions.update_page(request.auth, find_row(request.auth, Page, page_id), **values)
    return updated_response(request, page)


@pages.delete("/{id:page_id}", response={200: Deletion, 204: None})
def delete_page(request: ActorRequest, page_id: int) -> HttpResponse:
    """Move a page to the trash. For its owner and the owners and admins of the project.

    204 without a body. With `Prefer: return=representation` the answer is 200 and contains how many
    rows went to the trash.
    """
    page = find_row(request.auth, Page, page_id)
    actions.delete_page(request.auth, page)
    return deleted_response(request, page)


@pages.post("/{id:page_id}/publication", response=PageResponse)
def publish_page(request: ActorRequest, page_id: int) -> HttpResponse:
    """Make a page visible to all members. Publishing a published page changes nothing."""
    page = actions.publish_page(request.auth, find_row(request.auth, Page, page_id))
    return updated_response(request, page)


@pages.delete("/{id:page_id}/publication", response=PageResponse)
def unpublish_page(request: ActorRequest, page_id: int) -> HttpResponse:
    """Turn a page into a draft, visible to its owner and to owners and admins of the project."""
    page = actions.unpublish_page(request.auth, find_row(request.auth, Page, page_id))
    return updated_response(request, page)
