"""Who may do what inside a project. Questions about an actor and a project; no HTTP, no writes."""

from __future__ import annotations

from typing import Any

from taskflow.audit.actor import Actor
from taskflow.db.query import QueryCache
from taskflow.http.errors import Conflict, Forbidden
from taskflow.tenancy import with_tenant_parameter
from tasks.models import Project, ProjectMember, Role


@with_tenant_parameter
def _held(project_id: Any, user_id: Any, roles: Any) -> Any:
    held = ProjectMember.objects.filter(project=project_id, user=user_id, role__in=roles)
    return held.values_list("pk")


HELD = QueryCache(_held)
MANAGERS = (Role.OWNER, Role.ADMIN)


def require_role(actor: Actor, project: Project, *roles: Role) -> None:
    """Raise Forbidden unless the actor is staff or holds one of `roles` in the project."""
    if actor.is_staff:
        return
    if not HELD.fetch((), project.pk, actor.user.pk, tuple(map(str, roles))):
        wanted = " or ".join(roles)
        raise Forbidden(f"Only the {wanted} of “{project.name}” may do this.")


def require_member(actor: Actor, project: Project) -> None:
    """Raise Forbidden unless the actor works in the project."""
    if project.shown_to != actor.user.pk:
        require_role(actor, project, *Role)


def require_author_or_manager(actor: Actor, project: Project, author_id: int | None) -> None:
    """Raise Forbidden unless the row is the actor's own or he runs the project."""
    if author_id is None or author_id != actor.user.pk:
        require_role(actor, project, *MANAGERS)


def require_another_owner(member: ProjectMember) -> None:
    """Raise Conflict when `member` is the project's last owner."""
    owners = ProjectMember.objects.filter(project=member.project_id, role=Role.OWNER)
    if member.role == Role.OWNER and not owners.exclude(pk=member.pk).exists():
        raise Conflict("The last owner cannot leave. Make somebody else owner first.")


def require_all_projects(actor: Actor) -> None:
    """Raise Forbidden for a token that is bound to some projects."""
    if actor.project_ids is not None:
        raise Forbidden("This token is bound to its projects; it cannot make new ones.")
