"""Tasks."""

from __future__ import annotations

from typing import Any

from ninja import Query, Router
from ninja import Status as Answer

from accounts.actor import ActorRequest
from taskflow.paging import paginate, read_sort
from tasks.actions import tasks as actions
from tasks.filters import TASK_SORTS, filter_tasks
from tasks.find import find_task, referred_project, referred_task, referred_user
from tasks.models import Task
from tasks.schemas.tasks import TaskCreate, TaskFilters, TaskPage, TaskResponse, TaskUpdate

tasks = Router(tags=["Tasks"])


@tasks.get("", response=TaskPage)
def list_tasks(request: ActorRequest, filters: Query[TaskFilters]) -> dict[str, Any]:
    """The tasks you can see, newest first unless sorted.

    Different filters are joined by “and”, repeated values of one by “or”.
    """
    rows = filter_tasks(request.auth, Task.objects.visible_to(request.auth), filters)
    order = read_sort(filters.sort, default=["-id"], allowed=TASK_SORTS)
    return paginate(rows.with_details(), filters, order=order)  # type: ignore[attr-defined]


@tasks.post("", response={201: TaskResponse})
def create_task(request: ActorRequest, body: TaskCreate) -> Answer[Task]:
    """Add a task to a project you work in. It gets the project's next number.

    409 when the external_ref is taken, 422 when the assignee is not in the project or the parent
    is elsewhere or too deep.
    """
    values = _values(request, body)
    project = referred_project(request.auth, values.pop("project_id"), "project_id")
    task = actions.create_task(request.auth, project, **values)
    return Answer(201, find_task(request.auth, str(task.pk)))


@tasks.get("/{task_id}", response=TaskResponse)
def get_task(request: ActorRequest, task_id: str) -> Task:
    """One task, by id or key (WEB-12)."""
    return find_task(request.auth, task_id)


@tasks.api_operation(["PATCH", "PUT"], "/{task_id}", response=TaskResponse)
def update_task(request: ActorRequest, task_id: str, body: TaskUpdate) -> Task:
    """Change what is sent; null empties a field, `tags` replaces them all.

    PUT does the same: fields that are absent stay as they are. 409 for a parent below the task.
    """
    task = find_task(request.auth, task_id)
    actions.update_task(request.auth, task, **_values(request, body))
    return find_task(request.auth, str(task.pk))


@tasks.delete("/{task_id}", response={204: None})
def delete_task(request: ActorRequest, task_id: str) -> Answer[None]:
    """Delete a task and its subtasks."""
    actions.delete_task(request.auth, find_task(request.auth, task_id))
    return Answer(204, None)


@tasks.post("/{task_id}/completion", response=TaskResponse)
def complete_task(request: ActorRequest, task_id: str) -> Task:
    """Finish a task. Completing a done task changes nothing."""
    return actions.complete_task(request.auth, find_task(request.auth, task_id))


@tasks.delete("/{task_id}/completion", response=TaskResponse)
def reopen_task(request: ActorRequest, task_id: str) -> Task:
    """Take a done task up again, as to do. Reopening an open task changes nothing."""
    return actions.reopen_task(request.auth, find_task(request.auth, task_id))


def _values(request: ActorRequest, body: TaskCreate | TaskUpdate) -> dict[str, Any]:
    values = body.sent()
    if "assignee_id" in values:
        pk = values.pop("assignee_id")
        values["assignee"] = pk and referred_user(request.auth, pk, "assignee_id")
    if "parent_id" in values:
        pk = values.pop("parent_id")
        values["parent"] = pk and referred_task(request.auth, pk, "parent_id")
    return values
