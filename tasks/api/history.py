"""The events of a task and of a project."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Query, Router

from accounts.schemas.events import EventFilters, EventListResponse
from taskflow.audit.actor import ActorRequest
from taskflow.http.schema import ProjectIdOrKey, TaskIdOrKey
from tasks.api.events import event_list_response
from tasks.queries.lookup import find_project, find_task

task_history = Router(tags=["Tasks"])
project_history = Router(tags=["Projects"])


@task_history.get("/{task_id}/events", response=EventListResponse)
def list_task_events(
    request: ActorRequest, task_id: TaskIdOrKey, filters: Query[EventFilters]
) -> HttpResponse:
    """List the events of a task, the latest first, each with a sentence and the changed values.

    What happened while the task was in a project that you cannot see is left out.
    """
    task = find_task(request.auth, task_id)
    return event_list_response(request, filters, of_task=task.pk)


@project_history.get("/{project_id}/events", response=EventListResponse)
def list_project_events(
    request: ActorRequest, project_id: ProjectIdOrKey, filters: Query[EventFilters]
) -> HttpResponse:
    """List the events of a project and of everything in it, the latest first.

    Events are left out if you cannot see their row now, or could not have seen it then with your
    present memberships: a draft, or a task that came from or went to a hidden project.
    """
    project = find_project(request.auth, project_id)
    return event_list_response(request, filters, of_project=project.pk)
