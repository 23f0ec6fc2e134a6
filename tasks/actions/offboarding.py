"""Somebody leaves: what was his goes to others, and he can sign in no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from accounts.actions.locking import lock_users
from accounts.actions.users import retire_users
from accounts.models import User, UserKind
from accounts.rules import require_another_staff, require_staff
from taskflow.audit.actor import Actor
from taskflow.audit.locks import LockMode
from taskflow.audit.recorder import change_all, change_each, create_all, lock_all, remove_all
from taskflow.http.errors import Conflict, Invalid
from tasks.changes.assign import AssignTask, UnassignTask
from tasks.models import Page, Project, ProjectMember, Role, Status, Task


@dataclass
class Offboarding:
    """What was done."""

    user: User
    tokens_revoked: int = 0
    tasks_handed_over: int = 0
    tasks_unassigned: int = 0
    projects_handed_over: list[int] = field(default_factory=list)
    pages_handed_over: int = 0
    memberships_ended: int = 0
    agents_handed_over: int = 0
    agents_deactivated: int = 0


def offboard_user(actor: Actor, user: User, heir: User | None = None) -> Offboarding:
    """Deactivate him, end his tokens and memberships, and hand over what is his.

    His projects, pages, open tasks and agents go to `heir`; a task or page that the heir cannot see
    is unassigned, or goes to the project's owner. Without an heir another owner of each project
    takes it and its pages, open tasks are unassigned, and his agents leave with him. Done tasks and
    the record stay as they are. A constant number of statements; done twice, it changes nothing.
    Raises Conflict for the last administrator, and for projects that nobody else owns.
    """
    require_staff(actor)
    # Before anything is read: what others are giving to the user is committed by then.
    require_another_staff(user)
    lock_users([user, heir], LockMode.UPDATE)
    _check_heir(user, heir)
    done = Offboarding(user)
    agents = list(User.objects.filter(responsible=user, kind=UserKind.AGENT, is_active=True))
    lock_users(agents, LockMode.UPDATE)
    leaving = [user] if heir else [user, *agents]
    if heir:
        mine = User.objects.filter(responsible=user)
        done.agents_handed_over = change_all(actor, mine, "handed_over", responsible=heir)
    _hand_over_projects(actor, leaving, heir, done)
    _hand_over_pages(actor, leaving, heir, done)
    _hand_over_tasks(actor, leaving, heir, done)
    ended = ProjectMember.objects.filter(user__in=leaving)
    done.memberships_ended = remove_all(actor, ended, "left")
    done.tokens_revoked = retire_users(actor, leaving)
    done.agents_deactivated = len(leaving) - 1
    user.refresh_from_db()
    return done


def _check_heir(user: User, heir: User | None) -> None:
    if heir is None:
        return
    if heir.pk == user.pk:
        raise Invalid.field("hand_over_to", "He cannot hand over to himself.")
    if not heir.is_active or heir.kind != UserKind.HUMAN:
        raise Invalid.field("hand_over_to", f"{heir} is no active person.")


def _hand_over_projects(
    actor: Actor, leaving: Sequence[User], heir: User | None, done: Offboarding
) -> None:
    """Those in the trash too: whoever restores one finds it owned."""
    held = ProjectMember.objects.filter(user__in=leaving, role=Role.OWNER)
    projects = list(
        Project.everything.filter(owner__in=leaving).order_by("pk")
        | Project.everything.filter(pk__in=held.values("project_id")).order_by("pk")
    )
    lock_all([project for project in projects if not project.deleted_at])
    if heir:
        _make_owner(actor, projects, heir)
        heirs = {project.pk: heir for project in projects}
    else:
        heirs = _other_owners(projects, leaving)
    owned = [p for p in projects if p.owner_id in {u.pk for u in leaving} and p.pk in heirs]
    for owner in {heirs[p.pk].pk: heirs[p.pk] for p in owned}.values():
        ids = [p.pk for p in owned if heirs[p.pk] == owner]
        change_all(actor, Project.everything.filter(pk__in=ids), "handed_over", owner=owner)
    done.projects_handed_over = [p.pk for p in owned]


def _make_owner(actor: Actor, projects: Sequence[Project], heir: User) -> None:
    known = ProjectMember.objects.filter(project__in=projects, user=heir)
    change_all(actor, known, "changed", role=Role.OWNER)
    missing = {p.pk: p for p in projects}.keys() - set(known.values_list("project_id", flat=True))
    rows = [ProjectMember(project_id=pk, user=heir, role=Role.OWNER) for pk in sorted(missing)]
    create_all(actor, rows, "joined")


def _other_owners(projects: Sequence[Project], leaving: Sequence[User]) -> dict[int, User]:
    owners = ProjectMember.objects.filter(project__in=projects, role=Role.OWNER)
    others = owners.exclude(user__in=leaving).filter(user__is_active=True).select_related("user")
    found: dict[int, User] = {}
    for member in others.order_by("joined_at", "pk"):
        found.setdefault(member.project_id, member.user)
    orphans = [p for p in projects if p.pk not in found and not p.deleted_at]
    if orphans:
        raise Conflict(
            "Nobody else owns some of his projects. Name somebody in hand_over_to.",
            code="no_other_owner",
            errors=[
                {"code": "no_other_owner", "detail": f"{p.key} · {p.name}", "project_id": p.pk}
                for p in orphans
            ],
        )
    return found


def _hand_over_pages(
    actor: Actor, leaving: Sequence[User], heir: User | None, done: Offboarding
) -> None:
    pages = list(
        Page.objects.filter(owner__in=leaving, project__deleted_at__isnull=True)
        .select_related("project__owner")
        .order_by("pk")
    )
    seen = _projects_of(heir)
    edits = [
        (page, "handed_over", {"owner": heir if _sees(heir, page, seen) else page.project.owner})
        for page in pages
    ]
    change_each(actor, edits)
    done.pages_handed_over = len(pages)


def _hand_over_tasks(
    actor: Actor, leaving: Sequence[User], heir: User | None, done: Offboarding
) -> None:
    tasks = Task.everything.filter(assignee__in=leaving).exclude(status=Status.DONE)
    if heir:
        seen = tasks if heir.is_staff else tasks.filter(project__in=_projects_of(heir))
        done.tasks_handed_over = change_all(actor, seen, AssignTask.event, assignee=heir)
    done.tasks_unassigned = change_all(actor, tasks, UnassignTask.event, assignee=None)


def _projects_of(user: User | None) -> list[int]:
    if user is None:
        return []
    return list(ProjectMember.objects.filter(user=user).values_list("project_id", flat=True))


def _sees(user: User | None, page: Page, seen: Sequence[int]) -> bool:
    return user is not None and (user.is_staff or page.project_id in seen)
