"""Pages of projects."""

from __future__ import annotations

from typing import Any

from ninja import Query, Router
from ninja import Status as Answer

from accounts.actor import ActorRequest
from taskflow.paging import paginate, read_sort
from tasks.actions import pages as actions
from tasks.filters import PAGE_SORTS, filter_pages
from tasks.find import find_page, resolve
from tasks.models import Page
from tasks.schemas.pages import PageCreate, PageFilters, PagePage, PageResponse, PageUpdate

pages = Router(tags=["Pages"])


@pages.get("", response=PagePage)
def list_pages(request: ActorRequest, filters: Query[PageFilters]) -> dict[str, Any]:
    """The pages you can see, newest first unless sorted.

    Drafts are seen by their owner and by the project's owners and admins.
    """
    rows = filter_pages(request.auth, Page.objects.visible_to(request.auth), filters)
    order = read_sort(filters.sort, default=["-id"], allowed=PAGE_SORTS)
    return paginate(rows.with_details(), filters, order=order)  # type: ignore[attr-defined]


@pages.post("", response={201: PageResponse})
def create_page(request: ActorRequest, body: PageCreate) -> Answer[Page]:
    """Write a page in a project you work in; a draft, unless `is_published`."""
    page = actions.create_page(request.auth, **resolve(request.auth, body.sent()))
    return Answer(201, find_page(request.auth, page.pk))


@pages.get("/{int:page_id}", response=PageResponse)
def get_page(request: ActorRequest, page_id: int) -> Page:
    """One page."""
    return find_page(request.auth, page_id)


@pages.api_operation(["PATCH", "PUT"], "/{int:page_id}", response=PageResponse)
def update_page(request: ActorRequest, page_id: int, body: PageUpdate) -> Page:
    """Change what is sent. For its owner and the project's owners and admins.

    PUT does the same: fields that are absent stay as they are. 422 when a new owner is not in the
    project.
    """
    values = resolve(request.auth, body.sent())
    return actions.update_page(request.auth, find_page(request.auth, page_id), **values)


@pages.delete("/{int:page_id}", response={204: None})
def delete_page(request: ActorRequest, page_id: int) -> Answer[None]:
    """Move it to the trash. For its owner and the project's owners and admins."""
    actions.delete_page(request.auth, find_page(request.auth, page_id))
    return Answer(204, None)


@pages.post("/{int:page_id}/publication", response=PageResponse)
def publish_page(request: ActorRequest, page_id: int) -> Page:
    """Show it to all of the project. Publishing a published page changes nothing."""
    return actions.publish_page(request.auth, find_page(request.auth, page_id))


@pages.delete("/{int:page_id}/publication", response=PageResponse)
def unpublish_page(request: ActorRequest, page_id: int) -> Page:
    """Make it a draft again."""
    return actions.unpublish_page(request.auth, find_page(request.auth, page_id))
