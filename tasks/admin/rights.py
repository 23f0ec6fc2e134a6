"""The checks of roles in projects that the admin classes of this app call."""

from __future__ import annotations

from typing import cast

from django.http import HttpRequest

from accounts.admin.rights import get_actor
from taskflow.audit.actor import ActorRequest
from tasks.models import Project, Role
from tasks.rules import (
    MANAGERS,
    WRITERS,
    find_held_roles,
    require_held_role,
    require_role,
    require_webhook_manager,
)


def check_role(request: HttpRequest, project: Project | None, *roles: Role) -> None:
    """Raise Forbidden unless the user has one of the roles in the project; for None, in any.

    One query; of those for any project, one in a request.
    """
    actor = get_actor(request)
    if project is not None:
        require_role(actor, project, *roles)
    elif not actor.is_staff:
        require_held_role(load_held_roles(request), *roles)


def check_webhook_manager(request: HttpRequest, project: Project | None) -> None:
    """Raise Forbidden unless the user manages the webhooks of the project; for None, of any."""
    if project is None and not get_actor(request).is_staff:
        check_role(request, None, *MANAGERS)
    else:
        require_webhook_manager(get_actor(request), project)


def check_writer(request: HttpRequest, project: Project | None) -> None:
    """Raise Forbidden unless the user may write in the project; for None, in any."""
    check_role(request, project, *WRITERS)


def load_held_roles(request: HttpRequest) -> frozenset[str]:
    """Return the roles that the user has in any project. One query in a request."""
    request = cast(ActorRequest, request)
    if request.held_roles is None:
        request.held_roles = find_held_roles(request.actor)
    return request.held_roles
