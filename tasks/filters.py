"""The one filter language: from a list's query parameters to rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from django.db.models import Exists, OuterRef, Q, QuerySet, Value
from django.db.models.functions import Lower

from accounts.actor import Actor
from accounts.models import User
from taskflow.errors import Invalid
from tasks.find import project_query, read_id, task_query
from tasks.models import Project, Task, TaskTag

if TYPE_CHECKING:
    from tasks.schemas.projects import ProjectFilters
    from tasks.schemas.tasks import TaskFilters

TASK_SORTS = {
    "created_at": "created_at",
    "updated_at": "updated_at",
    "due_date": "due_date",
    "due_on": "due_on",
    "priority": "priority_rank",
    "title": "title",
    "number": "number",
}
PROJECT_SORTS = {n: n for n in ("name", "key", "created_at", "updated_at")}


def filter_tasks(actor: Actor, rows: QuerySet[Task], wanted: TaskFilters) -> QuerySet[Task]:
    """Raises Invalid for a project, user or task that the actor cannot see."""
    if wanted.project:
        rows = rows.filter(project__in=[_project_id(actor, ref) for ref in wanted.project])
    if wanted.status:
        rows = rows.filter(status__in=wanted.status)
    if wanted.priority:
        rows = rows.filter(priority__in=wanted.priority)
    if wanted.assignee:
        rows = rows.filter(assignee=_user_id(actor, wanted.assignee, "assignee"))
    if wanted.tag:
        rows = rows.filter(_carries(wanted.tag))
    if wanted.parent:
        rows = rows.filter(parent=_parent_id(actor, wanted.parent))
    if wanted.due_before:
        rows = rows.due_before(wanted.due_before)  # type: ignore[attr-defined]
    if wanted.due_after:
        rows = rows.due_after(wanted.due_after)  # type: ignore[attr-defined]
    if wanted.updated_since:
        rows = rows.filter(updated_at__gte=wanted.updated_since)
    return rows


def filter_projects(
    actor: Actor, rows: QuerySet[Project], wanted: ProjectFilters
) -> QuerySet[Project]:
    if wanted.status:
        rows = rows.filter(status__in=wanted.status)
    if wanted.owner:
        rows = rows.filter(owner=_user_id(actor, wanted.owner, "owner"))
    if wanted.updated_since:
        rows = rows.filter(updated_at__gte=wanted.updated_since)
    return rows


def _project_id(actor: Actor, ref: str) -> int:
    found = Project.objects.visible_to(actor).filter(project_query(ref))
    project_id: int | None = found.values_list("pk", flat=True).first()
    if project_id is None:
        raise Invalid.parameter("project", f"There is no project “{ref}”.", "unknown_reference")
    return project_id


def _user_id(actor: Actor, ref: str, parameter: str) -> int | None:
    """`me`, `none`, an id or `@handle`."""
    if ref == "me":
        return actor.user.pk
    if ref == "none" and parameter == "assignee":
        return None
    named = Q(handle=ref[1:].lower()) if ref.startswith("@") else Q(pk=read_id(ref))
    user_id: int | None = (
        User.objects.visible_to(actor).filter(named).values_list("pk", flat=True).first()
    )
    if user_id is None:
        raise Invalid.parameter(
            parameter, f"There is no user “{ref}”. Write me, an id or @handle.", "unknown_reference"
        )
    return user_id


def _parent_id(actor: Actor, ref: str) -> int | None:
    if ref == "none":
        return None
    found = Task.objects.visible_to(actor).filter(task_query(ref))
    parent_id: int | None = found.values_list("pk", flat=True).first()
    if parent_id is None:
        raise Invalid.parameter("parent", f"There is no task “{ref}”.", "unknown_reference")
    return parent_id


def _carries(names: Iterable[str]) -> Exists:
    """Tasks with one of these tags. An unknown name is no error: no task carries it yet."""
    folded = [Lower(Value(name)) for name in names]
    links = TaskTag.objects.annotate(folded=Lower("tag__name"))
    return Exists(links.filter(task=OuterRef("pk"), folded__in=folded))
