"""Who becomes the owner of projects and pages whose owner leaves. Never a deactivated user."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import Exists, OuterRef
from django.utils.translation import gettext_noop

from accounts.actions.locking import lock_users
from accounts.models import User
from taskflow.audit.actor import Actor
from taskflow.audit.recorder import change, change_all, create_all, lock
from taskflow.http.errors import Conflict
from taskflow.http.unavailable import Contended
from tasks.models import Page, Project, ProjectMember, Role


def find_successors(projects: Sequence[Project], leaving: Sequence[User]) -> dict[int, User]:
    """Return the active owner of each project who joined first and is not leaving, by project id.

    Projects without one are left out. One query.
    """
    owners = ProjectMember.objects.filter(project__in=projects, role=Role.OWNER)
    others = owners.exclude(user__in=leaving).filter(user__is_active=True).select_related("user")
    successors: dict[int, User] = {}
    for member in others.order_by("joined_at", "pk"):
        successors.setdefault(member.project_id, member.user)
    return successors


def make_owner_of_projects(actor: Actor, projects: Sequence[Project], user: User) -> None:
    """Make the user a member of the projects with the role of an owner."""
    existing = ProjectMember.objects.filter(project__in=projects, user=user)
    change_all(actor, existing, "changed", role=Role.OWNER)
    missing = {p.pk for p in projects} - set(existing.values_list("project_id", flat=True))
    rows = [ProjectMember(project_id=pk, user=user, role=Role.OWNER) for pk in sorted(missing)]
    create_all(actor, rows, "joined")


def replace_inactive_owner(actor: Actor, project: Project) -> None:
    """Give a project in the trash another owner if its owner is deactivated.

    That is another active owner of the project, otherwise the actor. The new owner also gets the
    pages of users who are deactivated and no members any more. Raises Conflict if there is no
    other owner and the actor is an operator, who cannot own projects.
    """
    former = User.objects.get(pk=project.owner_id)
    if former.is_active:
        return
    owner = find_successors([project], [former]).get(project.pk) or actor.member
    if owner is None:
        raise Conflict(
            gettext_noop(
                "The project has no active owner. Restore it as an administrator of the tenant,"
                " who becomes its owner."
            ),
            code="no_other_owner",
        )
    lock_users([owner])
    lock(project, "owner")
    if not owner.is_active or project.owner_id != former.pk:
        raise Contended("The owners of the project have changed. Send the request again.")
    make_owner_of_projects(actor, [project], owner)
    change(actor, project, "handed_over", owner=owner)
    membership = ProjectMember.objects.filter(project=project, user=OuterRef("owner"))
    pages = Page.everything.filter(~Exists(membership), project=project, owner__is_active=False)
    change_all(actor, pages, "handed_over", owner=owner)
