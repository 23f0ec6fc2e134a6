"""Operations on tasks."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Query, Router

from taskflow.audit.actor import ActorRequest
from taskflow.audit.merge_patch import read_patch
from taskflow.http.described_preferences import prefer_parameter
from taskflow.http.query_parameters import with_query
from taskflow.http.schema import TaskIdOrKey
from tasks.api.bulk import bulk_response
from tasks.api.responses import deleted_response, list_response, task_response, updated_response
from tasks.api.task_counts import task_counts_response
from tasks.changes import tasks as actions
from tasks.changes.create import CreateTask, create_tasks
from tasks.models import Task
from tasks.queries.filters import TASK_SORTS
from tasks.queries.lookup import find_task
from tasks.queries.references import References, resolve
from tasks.schemas.bulk import TaskBulk, TaskBulkResponse
from tasks.schemas.task_counts import TaskCountFilters, TaskCountsResponse
from tasks.schemas.task_filters import TaskFilters
from tasks.schemas.tasks import (
    Forced,
    TaskAssignment,
    TaskCompletion,
    TaskCreate,
    TaskListResponse,
    TaskMove,
    TaskParams,
    TaskResponse,
    TaskUpdate,
)
from tasks.schemas.trash import Deletion

tasks = Router(tags=["Tasks"])
WITHOUT_OUTCOME = TaskCompletion()
PREFER_MINIMAL_RESULTS = prefer_parameter(
    "`return=minimal`: the results have the ids of the tasks, but `task` is null."
)


@tasks.get("", response=TaskListResponse)
def list_tasks(request: ActorRequest, filters: Query[TaskFilters]) -> HttpResponse:
    """List the tasks that you can see, newest first unless `sort` is given.

    A task must satisfy all filters. If a filter is given several times, one of its values is
    enough. A filter whose name ends in `_not` excludes tasks, as in `status_not=done`.
    """
    return list_response(request, Task, filters, sorts=TASK_SORTS)


@tasks.get("/counts", response=TaskCountsResponse)
def count_tasks(request: ActorRequest, filters: Query[TaskCountFilters]) -> HttpResponse:
    """Count the tasks that you can see by status, outcome, priority, assignee or project.

    The filters are those of the list. Groups without tasks are left out, the largest group comes
    first, and there are 200 at most. Filters can leave groups out, as in `assignee_not=@ada`.
    """
    return task_counts_response(request, filters)


@tasks.post("", response={201: TaskResponse})
def create_task(request: ActorRequest, body: TaskCreate) -> HttpResponse:
    """Create a task in a project that you are a member of. It gets the next number of the project.

    409 if the external_ref is taken, and for an open task whose parent is done, unless `force` is
    true. 422 if the assignee is not a member of the project, or if the
    parent is in another project or too deep.
    """
    values = resolve(request.auth, body.sent_fields())
    created = create_tasks(request.auth, [CreateTask.build(values)])
    return updated_response(request, created[0], status=201)


@tasks.post(
    "/bulk", response=TaskBulkResponse, openapi_extra={"parameters": [PREFER_MINIMAL_RESULTS]}
)
def bulk_edit_tasks(request: ActorRequest, body: TaskBulk) -> HttpResponse:
    """Carry out up to 500 operations: create, update, complete, reopen, move, assign, tag, untag
    and delete. Each selects one task by `id`, or many by `where` with the filters of the list.

    If an operation is refused, nothing is changed, and the status is that of the first refused
    operation (404, 409 or 422), with all refused operations in `errors`. With `on_error: skip`,
    the possible operations are carried out, and the results of the others have the id and key of
    the task and the problem. New tasks are created first; the other operations follow in their
    order. A task is in its last result only. A request can create at most 100 tags and write at
    most 4 MiB of titles, descriptions, links and metadata, replaced text included: 422 `too_many`,
    `too_large`.
    """
    return bulk_response(request, body)


@tasks.get("/{task_id}", response=TaskResponse, openapi_extra=with_query(TaskParams))
def get_task(request: ActorRequest, task_id: TaskIdOrKey) -> HttpResponse:
    """Get a task by id or key (WEB-12). A key from before the task was moved finds it too.

    With `include=comments` the task contains its latest 50 comments.
    """
    return task_response(request, task_id)


@tasks.api_operation(["PATCH", "PUT"], "/{task_id}", response=TaskResponse)
def update_task(
    request: ActorRequest, task_id: TaskIdOrKey, body: TaskUpdate, force: Query[Forced]
) -> HttpResponse:
    """Change the fields that are sent. Null empties a field. `tags` and `blocked_by` replace all
    tags and blockers.

    With `Content-Type: application/merge-patch+json`, PATCH merges `metadata` by key (RFC 7396);
    null removes a key there. PUT does the same as PATCH: absent fields stay as they are. 409 for a
    parent that is below the task, for a blocker that the task blocks, and for a taken external_ref.
    Unless `force` is true, also 409 for the status done while subtasks or blockers are open, and
    for an open task whose parent is done.
    """
    task = find_task(request.auth, task_id)
    sent = read_patch(request, body)
    blockers = task.blocked_by.all() if "blocked_by" in sent else ()
    values = References(request.auth, [sent]).resolve(sent, present_blockers=blockers)
    actions.update_task(request.auth, task, force=force.force, **values)
    return updated_response(request, task)


@tasks.delete("/{task_id}", response={200: Deletion, 204: None})
def delete_task(request: ActorRequest, task_id: TaskIdOrKey) -> HttpResponse:
    """Move a task and its subtasks to the trash. They can be restored for 30 days.

    204 without a body. With `Prefer: return=representation` the answer is 200 and contains how many
    rows went to the trash.
    """
    task = find_task(request.auth, task_id)
    actions.delete_task(request.auth, task)
    return deleted_response(request, task)


@tasks.post(
    "/{task_id}/completion",
    response=TaskResponse,
    openapi_extra={"requestBody": {"required": False}},
)
def complete_task(
    request: ActorRequest,
    task_id: TaskIdOrKey,
    force: Query[Forced],
    body: TaskCompletion = WITHOUT_OUTCOME,
) -> HttpResponse:
    """Set a task to done. The body is optional: without it, the outcome is `completed`.

    `{"outcome": "cancelled"}` is for work that was dropped. A done task changes only if another
    outcome than its own is sent. 409 `open_work` if subtasks or blockers are open, with each in
    `errors`, unless `force` is true.
    """
    task = find_task(request.auth, task_id)
    actions.complete_task(request.auth, task, **body.sent_fields(), force=force.force)
    return updated_response(request, task)


@tasks.delete("/{task_id}/completion", response=TaskResponse)
def reopen_task(request: ActorRequest, task_id: TaskIdOrKey, force: Query[Forced]) -> HttpResponse:
    """Set the status of a done task to `todo`. Reopening an open task changes nothing.

    409 `parent_done` if its parent is done, unless `force` is true.
    """
    task = find_task(request.auth, task_id)
    actions.reopen_task(request.auth, task, force=force.force)
    return updated_response(request, task)


@tasks.post("/{task_id}/assignment", response=TaskResponse)
def assign_task(request: ActorRequest, task_id: TaskIdOrKey, body: TaskAssignment) -> HttpResponse:
    """Assign a task to a user. 422 if the user is not a member of the project."""
    task = find_task(request.auth, task_id)
    actions.assign_task(request.auth, task, **resolve(request.auth, body.sent_fields()))
    return updated_response(request, task)


@tasks.delete("/{task_id}/assignment", response=TaskResponse)
def unassign_task(request: ActorRequest, task_id: TaskIdOrKey) -> HttpResponse:
    """Remove the assignee of a task."""
    task = actions.assign_task(request.auth, find_task(request.auth, task_id), None)
    return updated_response(request, task)


@tasks.post("/{task_id}/move", response=TaskResponse)
def move_task(request: ActorRequest, task_id: TaskIdOrKey, body: TaskMove) -> HttpResponse:
    """Move a task and its subtasks to another project that you are a member of. They get new
    numbers.

    Their old keys still find them. A moved subtask no longer has a parent, and an assignee who is
    not a member of the new project is unassigned. 409 if an external_ref is taken in the new
    project.
    """
    task = find_task(request.auth, task_id)
    actions.move_task(request.auth, task, resolve(request.auth, body.sent_fields())["project"])
    return updated_response(request, task)
