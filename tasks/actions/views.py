"""Create, change and delete stored views of tasks."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_noop

from accounts.rules import require_unbound
from taskflow.audit.actor import Actor
from taskflow.audit.recorder import change, create, lock, remove
from taskflow.http.errors import Forbidden
from tasks.models import View
from tasks.rules import require_view_owner


def create_view(actor: Actor, *, name: str, where: dict[str, object], **values: Any) -> View:
    """Store filters under a name. The actor becomes the owner.

    The caller has checked the filters. Raises Forbidden for an operator, who has no user in the
    tenant, and for a token that is bound to projects.
    """
    require_unbound(actor, "views")
    if actor.member is None:
        raise Forbidden(
            gettext_noop("An operator owns no view in a tenant. A user of it can create one.")
        )
    return create(actor, View(owner=actor.member, name=name, where=where, **values))


def update_view(actor: Actor, view: View, **values: Any) -> View:
    """Set the given fields. Requires the owner, or for a shared view an administrator."""
    lock(view, "is_shared")  # the permission depends on it
    require_view_owner(actor, view)
    return change(actor, view, **values)


def delete_view(actor: Actor, view: View) -> None:
    """Delete a view. An undo brings it back. Requires the owner, or for a shared view an
    administrator.
    """
    lock(view, "is_shared")
    require_view_owner(actor, view)
    remove(actor, view)
