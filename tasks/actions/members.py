"""Actions on the members of a project."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Exists, OuterRef

from accounts.actions.locking import lock_users
from accounts.models import User
from accounts.rules import check_active
from taskflow.audit.actor import Actor
from taskflow.audit.locks import LockMode
from taskflow.audit.recorder import change, change_all, create, lock, remove
from tasks.actions.ownership import find_successors
from tasks.changes.assign import UnassignTask
from tasks.models import Project, ProjectMember, Role, Status, Task
from tasks.rules import MANAGERS, require_another_owner, require_role


def add_member(
    actor: Actor, project: Project, *, user: User, role: Role = Role.MEMBER
) -> ProjectMember:
    """Make a user a member of the project. Only owners can add owners.

    Raises Invalid for a deactivated user, and Conflict for a user who is already a member.
    """
    lock_users([user])
    _require_role_to_change(actor, project, role)
    check_active(user, "user_id")
    return create(actor, ProjectMember(project=project, user=user, role=role), "joined")


def change_role(actor: Actor, member: ProjectMember, *, role: Role) -> ProjectMember:
    """Change the role of a member. Raises Conflict for the last active owner."""
    _lock_role(member)
    _require_role_to_change(actor, member.project, role, Role(member.role))
    if role != Role.OWNER:
        _transfer_ownership(actor, member)
    return change(actor, member, role=role)


def remove_member(actor: Actor, member: ProjectMember) -> int:
    """End a membership. Members may end their own. Return the number of tasks that it unassigns.

    They are the user's open tasks in the project, unless the user is an administrator, who still
    sees them. Raises Conflict for the last active owner.
    """
    # A task that is assigned at the same time is committed before, or refused afterwards.
    lock_users([member.user], LockMode.UPDATE)
    _lock_role(member)
    if member.user_id != actor.user.pk:
        _require_role_to_change(actor, member.project, Role(member.role))
    _transfer_ownership(actor, member)
    remove(actor, member, "left")
    if member.user.is_staff:
        return 0
    tasks = Task.everything.filter(project=member.project_id, assignee=member.user_id)
    return change_all(actor, tasks.exclude(status=Status.DONE), UnassignTask.event, assignee=None)


def count_tasks_to_unassign(member_ids: Iterable[int]) -> int:
    """Return how many tasks remove_member() unassigns if these memberships end."""
    ended = ProjectMember.objects.filter(
        pk__in=member_ids, project=OuterRef("project"), user=OuterRef("assignee")
    )
    tasks = Task.everything.filter(Exists(ended.exclude(user__is_staff=True)))
    return tasks.exclude(status=Status.DONE).count()


def _lock_role(member: ProjectMember) -> None:
    """Serialize changes of roles in a project: its last two owners must not leave at once."""
    lock(member.project, "owner")
    lock(member, "role")


def _require_role_to_change(actor: Actor, project: Project, *roles: Role) -> None:
    """Raise Forbidden unless the actor may give and take these roles. Only owners may do so with
    the role of an owner.
    """
    require_role(actor, project, *([Role.OWNER] if Role.OWNER in roles else MANAGERS))


def _transfer_ownership(actor: Actor, member: ProjectMember) -> None:
    """If the member is the project's `owner`, make another active member with the role of an owner
    that.

    Raises Conflict if there is no other.
    """
    project = member.project
    require_another_owner(member)
    if project.owner_id == member.user_id:
        change(actor, project, owner=find_successors([project], [member.user])[project.pk])
