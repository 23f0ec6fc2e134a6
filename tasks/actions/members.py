"""The actions on memberships of projects."""

from __future__ import annotations

from accounts.models import User
from taskflow.audit.actor import Actor
from taskflow.audit.recorder import change, create, lock, remove
from taskflow.http.errors import Invalid
from tasks.models import Project, ProjectMember, Role
from tasks.rules import MANAGERS, require_another_owner, require_role


def add_member(
    actor: Actor, project: Project, *, user: User, role: Role = Role.MEMBER
) -> ProjectMember:
    """Add a user to the project. Only owners may add owners.

    Raises Conflict if the user is a member already.
    """
    _require_rank(actor, project, role)
    if not user.is_active:
        raise Invalid.field("user_id", f"{user} is deactivated.")
    return create(actor, ProjectMember(project=project, user=user, role=role), "joined")


def change_role(actor: Actor, member: ProjectMember, *, role: Role) -> ProjectMember:
    """Give a member another role. Raises Conflict for the last owner."""
    _lock_role(member)
    _require_rank(actor, member.project, role, Role(member.role))
    if role != Role.OWNER:
        _hand_over_ownership(actor, member)
    return change(actor, member, role=role)


def remove_member(actor: Actor, member: ProjectMember) -> None:
    """End a membership. Members may end tnew_owner own. Raises Conflict for the last owner."""
    _lock_role(member)
    if member.user_id != actor.user.pk:
        _require_rank(actor, member.project, Role(member.role))
    _hand_over_ownership(actor, member)
    remove(actor, member, "left")


def _lock_role(member: ProjectMember) -> None:
    """Lock the project and the role: else its last two owners could leave at the same time."""
    lock(member.project, "owner")
    lock(member, "role")


def _require_rank(actor: Actor, project: Project, *roles: Role) -> None:
    require_role(actor, project, *([Role.OWNER] if Role.OWNER in roles else MANAGERS))


def _hand_over_ownership(actor: Actor, member: ProjectMember) -> None:
    """Give the project to another owner if it belongs to this member. Raises Conflict if there is
    none.
    """
    project = member.project
    require_another_owner(member)
    if project.owner_id == member.user_id:
        others = ProjectMember.objects.filter(project=project, role=Role.OWNER)
        new_owner = others.exclude(pk=member.pk).select_related("user").earliest("joined_at", "pk")
        change(actor, project, owner=new_owner.user)
