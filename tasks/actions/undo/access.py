"""The owners that projects and pages must have after an undo, and the access users had before."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from django.db.models import Exists, OuterRef
from django.utils.translation import gettext, gettext_noop

from accounts.models import User
from taskflow.audit.models import Event
from taskflow.audit.undo.plan import Obstacle, Plan, Reversal
from tasks.models import Page, Project, ProjectMember, Role


def find_missing_owners(plan: Plan) -> Iterable[Obstacle]:
    """Yield projects whose owner would have no membership as an owner, pages whose owner would not
    be a member, and a user if the tenant would have no administrator.
    """
    touched: dict[int, Reversal] = {r.row.project_id: r for r in plan.reversals_of(ProjectMember)}
    touched |= {r.row.pk: r for r in plan.reversals_of(Project) if not r.is_removed}
    owners = set(
        ProjectMember.objects.filter(project__in=list(touched), role=Role.OWNER).values_list(
            "project_id", "user_id"
        )
    )
    for project in Project.objects.filter(pk__in=list(touched)):
        if (project.pk, project.owner_id) not in owners:
            yield touched[project.pk].obstacle(
                "no_owner",
                gettext("“%(project)s” would have no owner.") % {"project": project.name},
            )
    users = plan.reversals_of(User)
    if users and not User.objects.active().filter(is_staff=True).exists():
        yield users[0].obstacle(
            "no_administrator", gettext_noop("The tenant would have no administrator.")
        )
    pages = {r.row.pk: r for r in plan.reversals_of(Page) if "owner" in r.values}
    membership = ProjectMember.objects.filter(project=OuterRef("project"), user=OuterRef("owner"))
    pages_without_member = Page.objects.filter(
        ~Exists(membership), pk__in=list(pages), owner__is_staff=False
    ).select_related("owner")
    for page in pages_without_member:
        if not access_before(pages[page.pk], page.owner, page.project_id).can_see:
            continue
        yield pages[page.pk].obstacle(
            "no_member", gettext_noop("The owner of the page is no longer a member of the project.")
        )


class Access(NamedTuple):
    """What a user could do in a project at some time."""

    is_active: bool
    can_see: bool  # as a member of the project, or as an administrator of the tenant


def access_before(reversal: Reversal, user: User, project_id: int) -> Access:
    """Return the access that the user had to the project before the request that is undone.

    A user who had no access before it is no obstacle: the undo restores a state that existed.
    One statement for the request, and one each for the changes of the user and of the members.
    """
    first = reversal.events[-1]
    of_request = Event.objects.filter(request_id=first.request_id, actor=first.actor_id)
    start = of_request.order_by("pk").first() if first.request_id else None
    since = Event.objects.filter(pk__gte=(start or first).pk).order_by("-pk")
    is_active, is_staff = user.is_active, user.is_staff
    of_user = since.filter(subject_type="user", subject_id=user.pk)
    for changes in of_user.values_list("changes", flat=True):
        is_active = changes.get("is_active", [is_active])[0]
        is_staff = changes.get("is_staff", [is_staff])[0]
    is_member = ProjectMember.objects.filter(project=project_id, user=user).exists()
    of_members = since.filter(subject_type="projectmember", project_id=project_id)
    for changes in of_members.values_list("changes", flat=True):
        before, after = changes.get("user", [None, None])
        if user.pk in (before, after):
            is_member = before == user.pk
    return Access(is_active, is_staff or is_member)
