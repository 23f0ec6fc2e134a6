"""Offboarding: deactivate a user and hand over everything that the user owns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext, gettext_noop

from accounts.actions.locking import lock_users
from accounts.actions.users import offboard_users
from accounts.models import ApiToken, User, UserKind
from accounts.rules import require_another_staff, require_staff
from taskflow.audit.actor import Actor
from taskflow.audit.locks import LockMode, add_row_lock
from taskflow.audit.recorder import change_all, change_each, remove_all
from taskflow.http.errors import Conflict, Invalid
from taskflow.tenancy import TenantModel
from tasks.actions.ownership import find_successors, make_owner_of_projects
from tasks.changes.assign import AssignTask, UnassignTask
from tasks.models import Page, Project, ProjectMember, Role, Status, Task, View

RowT = TypeVar("RowT", bound=TenantModel)


@dataclass
class Offboarding:
    """What offboarding changed: numbers of rows, and the ids of projects."""

    user: User
    tokens_revoked: int = 0
    tasks_handed_over: int = 0
    tasks_unassigned: int = 0
    projects_handed_over: list[int] = field(default_factory=list)
    pages_handed_over: int = 0
    views_handed_over: int = 0
    views_deleted: int = 0
    memberships_ended: int = 0
    agents_handed_over: int = 0
    agents_deactivated: int = 0


def offboard_user(actor: Actor, user: User, new_owner: User | None = None) -> Offboarding:
    """Deactivate a user, revoke their tokens, end their memberships, and hand over what they own.

    Projects, pages, open tasks, shared views and agents go to `new_owner`. A task that the new
    owner cannot see is unassigned, and such a page goes to the owner of its project. Without
    `new_owner`, each project and its pages go to another owner of the project, open tasks are
    unassigned, and the user's agents are offboarded too. Shared views stay as they are then, and
    administrators can change them. Views that are not shared are deleted, since nobody else sees
    them. Done tasks and events stay as they are. Projects and pages in
    the trash are handed over as well; a project there that has no other owner keeps its owner
    until it is restored. A constant number of statements. Offboarding a user twice changes nothing.
    Raises Conflict for the last administrator, and for projects that have no other owner.
    """
    require_staff(actor)
    # Before anything is read: other transactions that assign rows to the user commit first.
    require_another_staff(user)
    lock_users([user, new_owner], LockMode.UPDATE)
    _check_new_owner(user, new_owner)
    result = Offboarding(user)
    agents = _lock_rows(_select_agents(user))
    leaving = [user] if new_owner else [user, *agents]
    if new_owner:
        agents_of_user = User.objects.filter(responsible=user)
        result.agents_handed_over = change_all(
            actor, agents_of_user, "handed_over", responsible=new_owner
        )
    _hand_over_projects(actor, leaving, new_owner, result)
    _hand_over_pages(actor, leaving, new_owner, result)
    _hand_over_tasks(actor, leaving, new_owner, result)
    if new_owner:
        shared = View.objects.filter(owner=user, is_shared=True)
        result.views_handed_over = change_all(actor, shared, "handed_over", owner=new_owner)
    result.views_deleted = remove_all(actor, _select_private_views(leaving))
    ended = ProjectMember.objects.filter(user__in=leaving)
    result.memberships_ended = remove_all(actor, ended, "left")
    result.tokens_revoked = offboard_users(actor, leaving)
    result.agents_deactivated = len(leaving) - 1
    user.refresh_from_db()
    return result


def count_offboarding(actor: Actor, user: User) -> dict[str, int]:
    """Return what offboarding the user concerns: numbers of rows by the names of their types.

    `agents` are active, `tokens` work now. Rows in the trash count, as they are handed over too.
    Eight queries. Raises Forbidden unless the actor may offboard users.
    """
    require_staff(actor)
    return {
        "projects": Project.everything.filter(owner=user).count(),
        "pages": _select_pages([user]).count(),
        "tasks": _select_open_tasks([user]).count(),
        "shared_views": View.objects.filter(owner=user, is_shared=True).count(),
        "private_views": _select_private_views([user]).count(),
        "agents": _select_agents(user).count(),
        "memberships": ProjectMember.objects.filter(user=user).count(),
        "tokens": ApiToken.objects.filter(user=user).live(timezone.now()).count(),
    }


def _select_pages(users: Sequence[User]) -> QuerySet[Page]:
    """Return the pages that the users own, those in the trash too."""
    return Page.everything.filter(owner__in=users)


def _select_open_tasks(users: Sequence[User]) -> QuerySet[Task]:
    """Return the tasks of the users that are not done, those in the trash too."""
    return Task.everything.filter(assignee__in=users).exclude(status=Status.DONE)


def _select_private_views(users: Sequence[User]) -> QuerySet[View]:
    """Return the views of the users that nobody else sees."""
    views: QuerySet[View] = View.objects.filter(owner__in=users, is_shared=False)
    return views


def _select_agents(user: User) -> QuerySet[User]:
    """Return the active agents that the user is responsible for."""
    agents: QuerySet[User] = User.objects.filter(
        responsible=user, kind=UserKind.AGENT, is_active=True
    )
    return agents


def _lock_rows(rows: QuerySet[RowT]) -> list[RowT]:
    """Lock the rows in the order of their ids, and return them as they are under the lock.

    Rows that another transaction has changed meanwhile, so that they no longer satisfy the
    conditions, are left out. One statement.
    """
    return list(add_row_lock(rows.order_by("pk"), LockMode.UPDATE))


def _check_new_owner(user: User, new_owner: User | None) -> None:
    if new_owner is None:
        return
    if new_owner.pk == user.pk:
        raise Invalid.field(
            "hand_over_to",
            gettext_noop("Choose another user: users cannot hand over to themselves."),
        )
    if not new_owner.is_active or new_owner.kind != UserKind.HUMAN:
        raise Invalid.field(
            "hand_over_to",
            gettext("%(user)s is not an active human user. Choose one.") % {"user": new_owner},
        )


def _hand_over_projects(
    actor: Actor, leaving: Sequence[User], new_owner: User | None, result: Offboarding
) -> None:
    """Give projects a new owner. Those in the trash too: a restored project needs an owner."""
    ownerships = ProjectMember.objects.filter(user__in=leaving, role=Role.OWNER)
    is_owned = Q(owner__in=leaving) | Q(pk__in=ownerships.values("project_id"))
    projects = _lock_rows(Project.everything.filter(is_owned))
    if new_owner:
        make_owner_of_projects(actor, projects, new_owner)
        new_owners = {project.pk: new_owner for project in projects}
    else:
        new_owners = _other_owners(projects, leaving)
    owned = [p for p in projects if p.owner_id in {u.pk for u in leaving} and p.pk in new_owners]
    for owner in {new_owners[p.pk].pk: new_owners[p.pk] for p in owned}.values():
        ids = [p.pk for p in owned if new_owners[p.pk] == owner]
        change_all(actor, Project.everything.filter(pk__in=ids), "handed_over", owner=owner)
    result.projects_handed_over = [p.pk for p in owned]


def _other_owners(projects: Sequence[Project], leaving: Sequence[User]) -> dict[int, User]:
    """Return the successors of the leaving users, by project id.

    Raises Conflict with a list of the projects outside the trash that have none.
    """
    other_owners = find_successors(projects, leaving)
    without_owner = [p for p in projects if p.pk not in other_owners and not p.deleted_at]
    if without_owner:
        raise Conflict(
            gettext_noop("Some projects have no other owner. Name a new owner in hand_over_to."),
            code="no_other_owner",
            errors=[
                {"code": "no_other_owner", "detail": f"{p.key} · {p.name}", "project_id": p.pk}
                for p in without_owner
            ],
        )
    return other_owners


def _hand_over_pages(
    actor: Actor, leaving: Sequence[User], new_owner: User | None, result: Offboarding
) -> None:
    """Give pages a new owner. Those in the trash too, as nobody else would own them if restored."""
    pages = _lock_rows(_select_pages(leaving).select_related("project__owner"))
    visible_ids, former = _project_ids_of(new_owner), {user.pk for user in leaving}
    edits = [
        (
            page,
            "handed_over",
            {"owner": new_owner if _can_see(new_owner, page, visible_ids) else page.project.owner},
        )
        for page in pages
    ]
    change_each(actor, edits)
    result.pages_handed_over = sum(page.owner_id not in former for page in pages)


def _hand_over_tasks(
    actor: Actor, leaving: Sequence[User], new_owner: User | None, result: Offboarding
) -> None:
    tasks = _select_open_tasks(leaving)
    if new_owner:
        visible = (
            tasks if new_owner.is_staff else tasks.filter(project__in=_project_ids_of(new_owner))
        )
        result.tasks_handed_over = change_all(actor, visible, AssignTask.event, assignee=new_owner)
    result.tasks_unassigned = change_all(actor, tasks, UnassignTask.event, assignee=None)


def _project_ids_of(user: User | None) -> list[int]:
    if user is None:
        return []
    return list(ProjectMember.objects.filter(user=user).values_list("project_id", flat=True))


def _can_see(user: User | None, page: Page, visible_ids: Sequence[int]) -> bool:
    return user is not None and (user.is_staff or page.project_id in visible_ids)
