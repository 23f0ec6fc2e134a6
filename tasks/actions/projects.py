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

from accounts.actions.locking import lock_users
from accounts.models import User
from accounts.rules import check_active
from taskflow.audit.actor import Actor
from taskflow.audit.recorder import change, change_all, create, lock
from taskflow.http.errors import Conflict, Forbidden, Invalid
from tasks.changes.complete import CompleteTask
from tasks.models import Project, ProjectMember, Role, Task, TaskBlocker
from tasks.models.tasks import TaskQuerySet, has_open_blocker
from tasks.rules import MANAGERS, require_all_projects, require_member, require_role

KEY_TRIES = 10
MAX_LISTED_BLOCKERS = 20  # blockers in one error


def create_project(
    actor: Actor, *, name: str, key: str | None = None, owner: User | None = None, **values: Any
) -> Project:
    """Create a project; its owner becomes its first member.

    Without a key one is derived from the name. Raises Forbidden when the owner is another user and
    the actor is not an administrator, or when the token is bound to projects.
    """
    require_all_projects(actor)
    owner = owner or actor.member
    if owner is None:
        raise Invalid.field("owner_id", "You act as an operator. Name the owner of the project.")
    if owner.pk != actor.user.pk and not actor.is_staff:
        raise Forbidden("Only an administrator can create projects for other users.")
    lock_users([owner])
    check_active(owner, "owner_id")
    values |= {"name": name, "owner": owner}
    if key:
        project = create(actor, Project(key=key, **values))
    else:
        project = _create_with_free_key(actor, values)
    create(actor, ProjectMember(project=project, user=owner, role=Role.OWNER), "joined")
    return project


def update_project(actor: Actor, project: Project, **values: Any) -> Project:
    """Set the given fields. A new owner becomes a member with that role."""
    owner = values.get("owner")
    if owner is not None:
        lock_users([owner])
        lock(project, "owner")  # before its members: their roles change under this lock
    require_role(actor, project, *MANAGERS)
    if owner is not None and owner.pk != project.owner_id:
        require_role(actor, project, Role.OWNER)
        check_active(owner, "owner_id")
        _make_owner(actor, project, owner)
    return change(actor, project, **values)


def delete_project(actor: Actor, project: Project) -> None:
    """Move a project to the trash. Everything in it is hidden until the project is restored."""
    require_role(actor, project, Role.OWNER)
    change(actor, project, "deleted", deleted_at=timezone.now())


def complete_project_tasks(actor: Actor, project: Project, *, force: bool = False) -> int:
    """Complete all open tasks of the project with one UPDATE. Return how many there were.

    Raises Conflict, listing the blockers, if open tasks of other projects block some of them,
    unless
    `force` is set.
    """
    require_member(actor, project)
    left = Task.objects.filter(project=project).open()
    if not force:
        _check_nothing_blocks(actor, left)
    return change_all(actor, left, CompleteTask.event, **CompleteTask.values_at(timezone.now()))


def _check_nothing_blocks(actor: Actor, tasks: TaskQuerySet) -> None:
    """Raise Conflict for open blockers that are not in the set."""
    links = TaskBlocker.objects.filter(has_open_blocker(), task__in=tasks)
    links = links.exclude(blocker__in=tasks.values("pk"))
    if found := list(
        links.select_related("task__project").order_by("task", "blocker")[:MAX_LISTED_BLOCKERS]
    ):
        raise Conflict(
            "Open tasks of other projects block some. Complete those first, or send force=true.",
            code="open_work",
            errors=[
                {
                    "code": "open_blocker",
                    "detail": f"{link.task.key} is blocked by task {link.blocker_id}.",
                    "task_id": link.blocker_id,
                }
                for link in found
            ],
        )


def _make_owner(actor: Actor, project: Project, user: User) -> None:
    membership = ProjectMember.objects.filter(project=project, user=user).first()
    if membership is None:
        create(actor, ProjectMember(project=project, user=user, role=Role.OWNER), "joined")
    else:
        change(actor, membership, role=Role.OWNER)


def _create_with_free_key(actor: Actor, values: dict[str, Any]) -> Project:
    """Create the project with a free key. If another request takes the key first, try the next."""
    for left in reversed(range(KEY_TRIES)):
        try:
            with transaction.atomic():
                return create(actor, Project(key=_free_key(values["name"]), **values))
        except IntegrityError:
            if not left:
                raise
    raise AssertionError


def _free_key(name: str) -> str:
    """A free key: the initials of several words or the start of one, and letters if taken."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    words = re.findall(r"[A-Z]+", slugify(plain).upper())
    base = "".join(w[0] for w in words)[:4] if len(words) > 1 else "".join(words)[:3]
    base = base if len(base) > 1 else "PRJ"
    taken = set(Project.everything.filter(key__startswith=base).values_list("key", flat=True))
    tails = chain([""], *(map("".join, product(ascii_uppercase, repeat=n)) for n in (1, 2, 3)))
    return next(base + tail for tail in tails if base + tail not in taken)
