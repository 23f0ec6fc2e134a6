"""What happened to a task, and in a project."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any

from django.db.models import Q, QuerySet
from ninja import Query, Router

from accounts.actor import Actor, ActorRequest
from accounts.events.history import read_history
from accounts.models import Event
from accounts.schemas import EventFilters, EventPage, event_response
from taskflow.errors import Invalid
from taskflow.paging import paginate
from tasks.find import find_project, find_task
from tasks.models import Page

task_history = Router(tags=["Tasks"])
project_history = Router(tags=["Projects"])


@task_history.get("/{task_id}/events", response=EventPage)
def list_task_events(
    request: ActorRequest, task_id: str, filters: Query[EventFilters]
) -> dict[str, Any]:
    """What happened to a task, the latest first, each with a sentence and the data."""
    task = find_task(request.auth, task_id)
    rows = Event.objects.filter(subject_type="task", subject_id=task.pk)
    return _page(request.auth, rows, filters)


@project_history.get("/{project_id}/events", response=EventPage)
def list_project_events(
    request: ActorRequest, project_id: str, filters: Query[EventFilters]
) -> dict[str, Any]:
    """What happened to a project and in it, the latest first; not to drafts of others."""
    project = find_project(request.auth, project_id)
    rows = Event.objects.filter(project_id=project.pk)
    if not request.auth.is_staff:
        pages = Page.everything.visible_to(request.auth).values("pk")
        rows = rows.filter(~Q(subject_type="page") | Q(subject_id__in=pages))
    return _page(request.auth, rows, filters)


def _page(actor: Actor, rows: QuerySet[Event], filters: EventFilters) -> dict[str, Any]:
    """Two queries, and one for each kind of row that is named."""
    if filters.verb:
        rows = rows.filter(reduce(or_, map(_is_verb, filters.verb)))
    if filters.since:
        rows = rows.filter(created_at__gte=filters.since)
    if filters.until:
        rows = rows.filter(created_at__lt=filters.until)
    page = paginate(rows.select_related("actor", "on_behalf_of"), filters, order=["-id"])
    entries = read_history(actor, page["data"])
    return page | {"data": [event_response(entry) for entry in entries]}


def _is_verb(text: str) -> Q:
    subject_type, dot, verb = text.partition(".")
    if not (subject_type and dot and verb):
        raise Invalid.parameter("verb", "Write it as task.completed.")
    return Q(subject_type=subject_type, verb=verb)
