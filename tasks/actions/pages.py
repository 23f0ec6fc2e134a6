"""What can happen to a page."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from accounts.models import User
from taskflow.audit.actor import Actor
from taskflow.audit.recorder import change, create, lock
from taskflow.http.errors import Invalid
from tasks.models import Page, Project, ProjectMember
from tasks.rules import require_author_or_manager, require_member


def create_page(
    actor: Actor,
    project: Project,
    *,
    title: str,
    body: str = "",
    is_published: bool = False,
    owner: User | None = None,
) -> Page:
    """Write a page, a draft unless published at once. It is the actor's own, or `owner`'s."""
    require_member(actor, project)
    owner = owner or actor.member
    if owner is None:
        raise Invalid.field("owner_id", "You are an operator here: say who owns the page.")
    _check_owner(project, owner)
    since = timezone.now() if is_published else None
    page = Page(project=project, title=title, body=body, owner=owner)
    page.is_published, page.published_at = is_published, since
    return create(actor, page)


def update_page(actor: Actor, page: Page, **values: Any) -> Page:
    """Change what was given. For its owner and the project's owners and admins."""
    lock(page, "owner")  # it may have been given to somebody else meanwhile
    require_author_or_manager(actor, page.project, page.owner_id)
    owner = values.get("owner")
    if owner is not None and owner.pk != page.owner_id:
        _check_owner(page.project, owner)
    return change(actor, page, **values)


def publish_page(actor: Actor, page: Page) -> Page:
    """Show it to all of the project. Publishing a published page changes nothing."""
    return _show(actor, page, True)


def unpublish_page(actor: Actor, page: Page) -> Page:
    """Make it a draft again, which its owner and the project's owners and admins see."""
    return _show(actor, page, False)


def delete_page(actor: Actor, page: Page) -> None:
    """Move a page to the trash."""
    lock(page, "owner")
    require_author_or_manager(actor, page.project, page.owner_id)
    change(actor, page, "deleted", deleted_at=timezone.now())


def _show(actor: Actor, page: Page, is_published: bool) -> Page:
    lock(page, "owner", "is_published")
    require_author_or_manager(actor, page.project, page.owner_id)
    if page.is_published == is_published:
        return page
    verb = "published" if is_published else "unpublished"
    since = timezone.now() if is_published else None
    return change(actor, page, verb, is_published=is_published, published_at=since)


def _check_owner(project: Project, owner: User) -> None:
    """He must be able to see it."""
    if not owner.is_active:
        raise Invalid.field("owner_id", f"{owner} is deactivated.")
    is_member = ProjectMember.objects.filter(project=project, user=owner).exists()
    if not (owner.is_staff or is_member):
        raise Invalid.field("owner_id", f"{owner} is not a member of “{project.name}”.")
