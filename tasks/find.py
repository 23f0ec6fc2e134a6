"""From what a caller wrote to the row he means, among those he may see."""

from __future__ import annotations

import re

from django.db.models import Q

from accounts.actor import Actor
from accounts.models import User
from taskflow.errors import Invalid, NotFound
from taskflow.schema import LARGEST_ID
from tasks.models import Project, ProjectMember, Tag, Task

TASK_KEY = re.compile(r"([A-Za-z]{2,10})-([1-9][0-9]{0,8})")
NUMBER = re.compile(r"[1-9][0-9]{0,18}")


def read_id(text: str) -> int | None:
    """A positive id that fits the database, else None."""
    return int(text) if NUMBER.fullmatch(text) and int(text) <= LARGEST_ID else None


def project_query(ref: str, prefix: str = "") -> Q:
    """A project by id or key."""
    number = read_id(ref)
    return Q((f"{prefix}pk", number)) if number else Q((f"{prefix}key", ref.upper()))


def find_project(actor: Actor, ref: str) -> Project:
    """The project with this id or key. Raises NotFound."""
    rows = Project.objects.visible_to(actor).with_details(actor)
    found: Project | None = rows.filter(project_query(ref)).first()
    if found is None:
        raise NotFound("There is no such project.")
    return found


def task_query(ref: str) -> Q:
    """A task by id or as WEB-12."""
    if number := read_id(ref):
        return Q(pk=number)
    if match := TASK_KEY.fullmatch(ref):
        return Q(project__key=match[1].upper(), number=int(match[2]))
    return Q(pk__in=[])


def find_task(actor: Actor, ref: str) -> Task:
    """The task with this id or key. Raises NotFound."""
    rows = Task.objects.visible_to(actor).with_details()
    found: Task | None = rows.filter(task_query(ref)).first()
    if found is None:
        raise NotFound("There is no such task.")
    return found


def find_member(actor: Actor, member_id: int) -> ProjectMember:
    rows = ProjectMember.objects.visible_to(actor).select_related("project", "user")
    found: ProjectMember | None = rows.filter(pk=member_id).first()
    if found is None:
        raise NotFound("There is no such membership.")
    return found


def find_tag(actor: Actor, tag_id: int) -> Tag:
    found: Tag | None = Tag.objects.visible_to(actor).filter(pk=tag_id).first()
    if found is None:
        raise NotFound("There is no such tag.")
    return found


# ---- references in a body: one that cannot be seen is as wrong as one that does not exist -------


def referred_user(actor: Actor, user_id: int | None, field: str) -> User | None:
    if user_id is None:
        return None
    found: User | None = User.objects.visible_to(actor).filter(pk=user_id).first()
    if found is None:
        raise Invalid.field(field, "There is no such user.", "unknown_reference")
    return found


def referred_project(actor: Actor, project_id: int, field: str) -> Project:
    found: Project | None = Project.objects.visible_to(actor).filter(pk=project_id).first()
    if found is None:
        raise Invalid.field(field, "There is no such project.", "unknown_reference")
    return found


def referred_task(actor: Actor, task_id: int | None, field: str) -> Task | None:
    if task_id is None:
        return None
    found: Task | None = Task.objects.visible_to(actor).filter(pk=task_id).first()
    if found is None:
        raise Invalid.field(field, "There is no such task.", "unknown_reference")
    return found
