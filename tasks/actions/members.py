"""Actions on the members of a project."""

from __future__ import annotations

from accounts.actions.locking import lock_users
from accounts.models import User
from accounts.rules import check_active
from taskflow.audit.actor import Actor
from taskflow.audit.recorder import change, create, lock, remove
from tasks.models import Project, ProjectMember, Role
from tasks.rules import MANAGERS, require_another_owner, require_role


def add_member(
    actor: Actor, project: Project, *, user: User, role: Role = Role.MEMBER
) -> ProjectMember:
    """Make a user a member of the project. Only an owner can add an owner.

    Raises Invalid for a deactivated user, Conflict for one who is a member already.
    """
    lock_users([user])
    _require_rank(actor, project, role)
    check_active(user, "user_id")
    return create(actor, ProjectMember(project=project, user=user, role=role), "joined")


def change_role(actor: Actor, member: ProjectMember, *, role: Role) -> ProjectMember:
    """Change the role of a member. Raises Conflict for the last owner."""
    _lock_role(member)
    _require_rank(actor, member.project, role, Role(member.role))
    if role != Role.OWNER:
        _pass_on_ownership(actor, member)
    return change(actor, member, role=role)


def remove_member(actor: Actor, member: ProjectMember) -> None:
    """End a membership; members may end their own. Raises Conflict for the last owner."""
    _lock_role(member)
    if member.user_id != actor.user.pk:
        _require_rank(actor, member.project, Role(member.role))
    _pass_on_ownership(actor, member)
    remove(actor, member, "left")


def _lock_role(member: ProjectMember) -> None:
    """Serialize changes of roles in a project, or its last two owners could leave at once."""
    lock(member.project, "owner")
    lock(member, "role")


def _require_rank(actor: Actor, project: Project, *roles: Role) -> None:
    require_role(actor, project, *([Role.OWNER] if Role.OWNER in roles else MANAGERS))


def _pass_on_ownership(actor: Actor, member: ProjectMember) -> None:
    """Make another owner the project's owner if the member is. Raises Conflict for the last one."""
    project = member.project
    require_another_owner(member)
    if project.owner_id == member.user_id:
        others = ProjectMember.objects.filter(project=project, role=Role.OWNER)
        successor = others.exclude(pk=member.pk).select_related("user").earliest("joined_at", "pk")
        change(actor, project, owner=successor.user)
