"""From what a caller wrote to the row he means, among those he may see."""

from __future__ import annotations

import re
from typing import TypeVar

from django.db.models import Model, Q, QuerySet

from accounts.actor import Actor
from accounts.models import User
from taskflow.errors import Invalid, NotFound
from taskflow.schema import LARGEST_ID
from tasks.models import Project, ProjectMember, Tag, Task

M = TypeVar("M", bound=Model)
PROJECT_KEY = re.compile(r"[A-Za-z]{2,10}")
TASK_KEY = re.compile(r"([A-Za-z]{2,10})-([1-9][0-9]{0,8})")
NUMBER = re.compile(r"[1-9][0-9]{0,18}")


def read_id(text: str) -> int | None:
    """A positive id that fits the database, else None."""
    return int(text) if NUMBER.fullmatch(text) and int(text) <= LARGEST_ID else None


def project_query(ref: str, prefix: str = "") -> Q:
    """A project by id or key."""
    if number := read_id(ref):
        return Q((f"{prefix}pk", number))
    return Q((f"{prefix}key", ref.upper())) if PROJECT_KEY.fullmatch(ref) else Q(pk__in=[])


def find_project(actor: Actor, ref: str) -> Project:
    """The project with this id or key. Raises NotFound."""
    rows = Project.objects.visible_to(actor).with_details(actor)
    return _one(rows.filter(project_query(ref)), "project")


def task_query(ref: str) -> Q:
    """A task by id or as WEB-12."""
    if number := read_id(ref):
        return Q(pk=number)
    if match := TASK_KEY.fullmatch(ref):
        return Q(project__key=match[1].upper(), number=int(match[2]))
    return Q(pk__in=[])


def find_task(actor: Actor, ref: str) -> Task:
    """The task with this id or key. Raises NotFound."""
    return _one(Task.objects.visible_to(actor).with_details().filter(task_query(ref)), "task")


def find_member(actor: Actor, member_id: int) -> ProjectMember:
    rows = ProjectMember.objects.visible_to(actor).select_related("project", "user")
    return _one(rows.filter(pk=member_id), "membership")


def find_tag(actor: Actor, tag_id: int) -> Tag:
    return _one(Tag.objects.visible_to(actor).filter(pk=tag_id), "tag")


def _one(rows: QuerySet[M], noun: str) -> M:
    found = rows.first()
    if found is None:
        raise NotFound(f"There is no such {noun}.")
    return found


# ---- references in a body: one that cannot be seen is as wrong as one that does not exist -------


def referred_user(actor: Actor, user_id: int, field: str) -> User:
    found: User = _referred(User.objects.visible_to(actor), user_id, field, "user")
    return found


def referred_project(actor: Actor, project_id: int, field: str) -> Project:
    return _referred(Project.objects.visible_to(actor), project_id, field, "project")


def referred_task(actor: Actor, task_id: int, field: str) -> Task:
    return _referred(Task.objects.visible_to(actor), task_id, field, "task")


def _referred(rows: QuerySet[M], pk: int, field: str, noun: str) -> M:
    found = rows.filter(pk=pk).first()
    if found is None:
        raise Invalid.field(field, f"There is no such {noun}.", "unknown_reference")
    return found
