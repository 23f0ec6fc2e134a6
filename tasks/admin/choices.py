"""The rows that a field of a form offers and accepts, of which there may be too many for a list.

The field shows none of them until somebody types. The address of its autocompletion then has the
name of one of these sets, so that it offers exactly the rows that the field accepts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.db.models import Q, QuerySet

from accounts.models import User, UserKind
from taskflow.audit.actor import Actor
from tasks.models import Project, ProjectStatus
from tasks.rules import WRITERS

AMONG = "among"  # the parameter of an autocompletion that names one of the sets


def find_users(actor: Actor) -> QuerySet[User]:
    """Return the users that the actor can see, deactivated ones included."""
    users: QuerySet[User] = User.objects.visible_to(actor.viewer).order_by("handle")
    return users


def find_active_users(actor: Actor) -> QuerySet[User]:
    users: QuerySet[User] = User.objects.visible_to(actor.viewer).active().order_by("handle")
    return users


def find_people(actor: Actor) -> QuerySet[User]:
    """Return the active users that are no agents."""
    return find_active_users(actor).filter(kind=UserKind.HUMAN)


def find_projects(actor: Actor) -> QuerySet[Project]:
    return Project.objects.visible_to(actor.viewer).order_by("key")


def find_unarchived_projects(actor: Actor) -> QuerySet[Project]:
    return find_projects(actor).exclude(status=ProjectStatus.ARCHIVED)


def find_writable_projects(actor: Actor) -> QuerySet[Project]:
    """Return the projects in which the actor may create tasks."""
    projects = find_unarchived_projects(actor)
    if actor.is_staff:
        return projects
    return projects.filter(Q(memberships__user=actor.user.pk, memberships__role__in=WRITERS))


CHOICES: Mapping[str, Callable[[Actor], QuerySet[Any]]] = {
    "users": find_users,
    "active_users": find_active_users,
    "people": find_people,
    "projects": find_projects,
    "unarchived_projects": find_unarchived_projects,
    "writable_projects": find_writable_projects,
}
