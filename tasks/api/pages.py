"""Pages of projects."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Query, Router
from ninja import Status as Answer

from taskflow.audit.actor import ActorRequest
from tasks.actions import pages as actions
from tasks.api.responses import detail_response, list_response, updated_response
from tasks.models import Page
from tasks.queries.filters import PAGE_SORTS
from tasks.queries.lookup import find_page, resolve
from tasks.schemas.pages import PageCreate, PageFilters, PagePage, PageResponse, PageUpdate

pages = Router(tags=["Pages"])


@pages.get("", response=PagePage)
def list_pages(request: ActorRequest, filters: Query[PageFilters]) -> HttpResponse:
    """The pages you can see, newest first unless sorted.

    Drafts are seen by their owner and by the project's owners and admins.
    """
    return list_response(request, Page, filters, sorts=PAGE_SORTS)


@pages.post("", response={201: PageResponse})
def create_page(request: ActorRequest, body: PageCreate) -> HttpResponse:
    """Write a page in a project you work in; a draft, unless `is_published`."""
    page = actions.create_page(request.auth, **resolve(request.auth, body.sent()))
    return updated_response(request, page, status=201)


@pages.get("/{id:page_id}", response=PageResponse)
def get_page(request: ActorRequest, page_id: int) -> HttpResponse:
    """One page."""
    return detail_response(request, Page, pk=page_id)


@pages.api_operation(["PATCH", "PUT"], "/{id:page_id}", response=PageResponse)
def update_page(request: ActorRequest, page_id: int, body: PageUpdate) -> HttpResponse:
    """Change what is sent. For its owner and the project's owners and admins.

    PUT does the same: fields that are absent stay as they are. 422 when a new owner is not in the
    project.
    """
    values = resolve(request.auth, body.sent())
    page = actions.update_page(request.auth, find_page(request.auth, page_id), **values)
    return updated_response(request, page)


@pages.delete("/{id:page_id}", response={204: None})
def delete_page(request: ActorRequest, page_id: int) -> Answer[None]:
    """Move it to the trash. For its owner and the project's owners and admins."""
    actions.delete_page(request.auth, find_page(request.auth, page_id))
    return Answer(204, None)


@pages.post("/{id:page_id}/publication", response=PageResponse)
def publish_page(request: ActorRequest, page_id: int) -> HttpResponse:
    """Show it to all of the project. Publishing a published page changes nothing."""
    page = actions.publish_page(request.auth, find_page(request.auth, page_id))
    return updated_response(request, page)


@pages.delete("/{id:page_id}/publication", response=PageResponse)
def unpublish_page(request: ActorRequest, page_id: int) -> HttpResponse:
    """Make it a draft again."""
    page = actions.unpublish_page(request.auth, find_page(request.auth, page_id))
    return updated_response(request, page)
