"""Actions on projects."""

from __future__ import annotations

import re
import unicodedata
from itertools import chain, product
from string import ascii_uppercase
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.text import slugify
from django.utils.translation import gettext_noop

from accounts.actions.locking import lock_users
from accounts.models import User
from accounts.rules import check_active
from taskflow.audit.actor import Actor
from taskflow.audit.recorder import change, change_all, create, lock
from taskflow.http.errors import Conflict, Forbidden, Invalid
from tasks.changes.complete import CompleteTask
from tasks.models import (
    Project,
    ProjectKey,
    ProjectMember,
    ProjectStatus,
    Role,
    Task,
    TaskBlocker,
)
from tasks.models.tasks import TaskQuerySet, has_open_blocker
from tasks.rules import (
    MANAGERS,
    require_all_projects,
    require_member,
    require_role,
    require_unarchived,
)

MAX_KEY_ATTEMPTS = 10
MAX_LISTED_BLOCKERS = 20  # in one error


def create_project(
    actor: Actor, *, name: str, key: str | None = None, owner: User | None = None, **values: Any
) -> Project:
    """Create a project. Its owner, by default the actor, becomes its first member.

    If `key` is None, a free key is derived from the name. Raises Forbidden if the owner is another
    user and the actor is not an administrator, or if the token is limited to projects, and Conflict
    if the key is taken.
    """
    require_all_projects(actor)
    owner = owner or actor.member
    if owner is None:
        raise Invalid.field(
            "owner_id",
            gettext_noop("You act as an operator and cannot own projects. Name an owner_id."),
        )
    if owner.pk != actor.user.pk and not actor.is_staff:
        raise Forbidden(gettext_noop("Only an administrator can create projects for other users."))
    lock_users([owner])
    check_active(owner, "owner_id")
    values |= {"name": name, "owner": owner}
    if key:
        project = create(actor, Project(key=key, **values))
    else:
        project = _create_with_free_key(actor, values)
    create(actor, ProjectMember(project=project, user=owner, role=Role.OWNER), "joined")
    return project


def update_project(
    actor: Actor, project: Project, *, force: bool = False, **values: Any
) -> Project:
    """Set the given fields. A new owner also gets the role of an owner.

    Requires an owner or admin of the project, and an owner to change the owner. Raises Conflict if
    the project is archived, unless an administrator sets another status; and if it would be
    completed with open tasks, unless `force` is set.
    """
    owner = values.get("owner")
    if owner is not None:
        lock_users([owner])
        lock(project, "owner")  # roles in the project change only under this lock
    require_role(actor, project, *MANAGERS)
    if not (actor.is_staff and values.get("status", ProjectStatus.ARCHIVED) != project.status):
        require_unarchived(project)
    if values.get("status") == ProjectStatus.COMPLETED and not force:
        _check_no_open_tasks(project)
    if owner is not None and owner.pk != project.owner_id:
        require_role(actor, project, Role.OWNER)
        check_active(owner, "owner_id")
        _make_owner(actor, project, owner)
    return change(actor, project, **values)


def delete_project(actor: Actor, project: Project) -> None:
    """Move a project to the trash. Everything in it is hidden until the project is restored.

    Requires an owner of the project. Raises Conflict if it is archived.
    """
    require_role(actor, project, Role.OWNER)
    require_unarchived(project)
    change(actor, project, "deleted", deleted_at=timezone.now())


def complete_project_tasks(actor: Actor, project: Project, *, force: bool = False) -> int:
    """Complete all open tasks of the project with one UPDATE. Return their number.

    Raises Conflict with a list of the blockers if open tasks of other projects block any of them,
    unless `force` is set.
    """
    require_member(actor, project)
    open_tasks = Task.objects.filter(project=project).open()
    if not force:
        _check_no_other_blockers(open_tasks)
    return change_all(
        actor, open_tasks, CompleteTask.event, **CompleteTask.values_at(timezone.now())
    )


def _check_no_open_tasks(project: Project) -> None:
    """Raise Conflict if the project has open tasks and is not completed yet."""
    lock(project, "status")
    if project.status == ProjectStatus.COMPLETED:
        return
    if detail := describe_open_tasks(project):
        raise Conflict(detail, code="open_work")


def describe_open_tasks(project: Project) -> str | None:
    """Return the sentence that refuses to complete the project, or None without open tasks."""
    count = Task.objects.filter(project=project).open().count()
    if not count:
        return None
    tasks, them = ("1 open task", "it") if count == 1 else (f"{count} open tasks", "them")
    return f"The project has {tasks}. Complete or delete {them} first, or send force=true."


def _check_no_other_blockers(tasks: TaskQuerySet) -> None:
    """Raise Conflict if open tasks that are not among `tasks` block any of them."""
    links = TaskBlocker.objects.filter(has_open_blocker(), task__in=tasks)
    links = links.exclude(blocker__in=tasks.values("pk"))
    links = links.select_related("task__project").order_by("task", "blocker")
    if blocking := list(links[:MAX_LISTED_BLOCKERS]):
        raise Conflict(
            gettext_noop(
                "Open tasks of other projects block some. Complete those first, or send force=true."
            ),
            code="open_work",
            errors=[
                {
                    "code": "open_blocker",
                    "detail": f"{link.task.key} is blocked by task {link.blocker_id}.",
                    "task_id": link.blocker_id,
                }
                for link in blocking
            ],
        )


def _make_owner(actor: Actor, project: Project, user: User) -> None:
    """Give the user the role of an owner, as a new member if necessary."""
    membership = ProjectMember.objects.filter(project=project, user=user).first()
    if membership is None:
        create(actor, ProjectMember(project=project, user=user, role=Role.OWNER), "joined")
    else:
        change(actor, membership, role=Role.OWNER)


def _create_with_free_key(actor: Actor, values: dict[str, Any]) -> Project:
    """Create the project with a free key. If another request takes the key first, try another."""
    for attempts_left in reversed(range(MAX_KEY_ATTEMPTS)):
        try:
            with transaction.atomic():
                return create(actor, Project(key=_free_key(values["name"]), **values))
        except IntegrityError:
            if not attempts_left:
                raise
    raise AssertionError


def _free_key(name: str) -> str:
    """Return a free project key, derived from the name.

    It consists of the initials of several words or the beginning of one word. If that key is taken,
    up to three letters are added.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    words = re.findall(r"[A-Z]+", slugify(plain).upper())
    base = "".join(w[0] for w in words)[:4] if len(words) > 1 else "".join(words)[:3]
    base = base if len(base) > 1 else "PRJ"
    taken = set(ProjectKey.objects.filter(key__startswith=base).values_list("key", flat=True))
    tails = chain([""], *(map("".join, product(ascii_uppercase, repeat=n)) for n in (1, 2, 3)))
    return next(base + tail for tail in tails if base + tail not in taken)
