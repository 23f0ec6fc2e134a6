"""The owners that projects and pages must have after an undo, and who has lost access since."""

from __future__ import annotations

from collections.abc import Iterable

from django.db.models import Exists, OuterRef

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
            yield touched[project.pk].obstacle("no_owner", f"“{project.name}” would have no owner.")
    users = plan.reversals_of(User)
    if users and not User.objects.active().filter(is_staff=True).exists():
        yield users[0].obstacle("no_administrator", "The tenant would have no administrator.")
    pages = {r.row.pk: r for r in plan.reversals_of(Page) if "owner" in r.values}
    membership = ProjectMember.objects.filter(project=OuterRef("project"), user=OuterRef("owner"))
    pages_without_member = Page.objects.filter(
        ~Exists(membership), pk__in=list(pages), owner__is_staff=False
    )
    for page in pages_without_member:
        if not lost_access_since(pages[page.pk], page.owner_id, page.project_id):
            continue
        yield pages[page.pk].obstacle(
            "no_member", "The owner of the page is no longer a member of the project."
        )


def lost_access_since(reversal: Reversal, user_id: int, project_id: int) -> bool:
    """Return whether the user lost access to the project after the events that are undone.

    A user who had no access before them is no obstacle: the undo restores a state that existed.
    """
    since = Event.objects.filter(pk__gt=reversal.events[-1].pk)
    user_events = since.filter(subject_type="user", subject_id=user_id)
    left = since.filter(subject_type="projectmember", project_id=project_id, verb="left")
    return any(
        changes.get(name, [None, None])[1] is False
        for changes in user_events.values_list("changes", flat=True)
        for name in ("is_active", "is_staff")
    ) or any(
        changes.get("user") == [user_id, None] for changes in left.values_list("changes", flat=True)
    )
