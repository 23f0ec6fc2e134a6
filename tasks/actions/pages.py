"""The actions on pages."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from django.utils.translation import gettext, gettext_noop

from accounts.actions.locking import lock_users
from accounts.models import User
from accounts.rules import check_active
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
    """Create a page, as a draft unless `is_published` is set. The default owner is the actor."""
    require_member(actor, project)
    owner = owner or actor.member
    if owner is None:
        raise Invalid.field(
            "owner_id",
            gettext_noop("You act as an operator and cannot own pages. Name an owner_id."),
        )
    lock_users([owner])
    _check_owner(project, owner)
    published_at = timezone.now() if is_published else None
    page = Page(project=project, title=title, body=body, owner=owner)
    page.is_published, page.published_at = is_published, published_at
    return create(actor, page)


def update_page(actor: Actor, page: Page, **values: Any) -> Page:
    """Set the given fields. Requires the owner of the page, or an owner or admin of the project."""
    owner = values.get("owner")
    lock_users([owner])
    lock(page, "owner")  # the permission depends on the present owner
    require_author_or_manager(actor, page.project, page.owner_id)
    if owner is not None and owner.pk != page.owner_id:
        _check_owner(page.project, owner)
    return change(actor, page, **values)


def publish_page(actor: Actor, page: Page) -> Page:
    """Make a page visible to all members. Publishing a published page changes nothing."""
    return _set_published(actor, page, is_published=True)


def unpublish_page(actor: Actor, page: Page) -> Page:
    """Turn a page into a draft, visible to its owner and to owners and admins of the project."""
    return _set_published(actor, page, is_published=False)


def delete_page(actor: Actor, page: Page) -> None:
    """Move a page to the trash. Requires its owner, or an owner or admin of the project."""
    lock(page, "owner")
    require_author_or_manager(actor, page.project, page.owner_id)
    change(actor, page, "deleted", deleted_at=timezone.now())


def _set_published(actor: Actor, page: Page, *, is_published: bool) -> Page:
    lock(page, "owner", "is_published")
    require_author_or_manager(actor, page.project, page.owner_id)
    if page.is_published == is_published:
        return page
    verb = "published" if is_published else "unpublished"
    published_at = timezone.now() if is_published else None
    return change(actor, page, verb, is_published=is_published, published_at=published_at)


def _check_owner(project: Project, owner: User) -> None:
    """Raise Invalid unless the user is active and can see the project.

    The user must be locked: offboarding hands over the pages that the user has until then.
    """
    check_active(owner, "owner_id")
    is_member = ProjectMember.objects.filter(project=project, user=owner).exists()
    if not (owner.is_staff or is_member):
        raise Invalid.field(
            "owner_id",
            gettext(
                "%(owner)s is not a member of “%(project)s”. Choose a member, or add the user to"
                " the project first."
            )
            % {"owner": owner, "project": project.name},
        )
