"""Tasks."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Query, Router
from ninja import Status as Answer

from taskflow.audit.actor import ActorRequest
from taskflow.http.schema import IdOrKey
from tasks.api.bulk import new_task, run_bulk
from tasks.api.responses import list_response, task_response, updated_response
from tasks.changes import tasks as actions
from tasks.changes.create import create_tasks
from tasks.models import Task
from tasks.queries.filters import TASK_SORTS
from tasks.queries.lookup import References, find_task, resolve
from tasks.schemas.bulk import TaskBulk, TaskBulkResponse
from tasks.schemas.tasks import (
    Forced,
    TaskAssignment,
    TaskCreate,
    TaskFilters,
    TaskMove,
    TaskPage,
    TaskResponse,
    TaskUpdate,
)

tasks = Router(tags=["Tasks"])


@tasks.get("", response=TaskPage)
def list_tasks(request: ActorRequest, filters: Query[TaskFilters]) -> HttpResponse:
    """The tasks that you can see, newest first unless sorted.

    Different filters are joined by “and”, repeated values of one by “or”; a filter whose name ends
    in `_not` leaves out what it names, as in `status_not=done`.
    """
    return list_response(request, Task, filters, sorts=TASK_SORTS)


@tasks.post("", response={201: TaskResponse})
def create_task(request: ActorRequest, body: TaskCreate) -> HttpResponse:
    """Create a task in a project of which you are a member. It gets the project's next number.

    409 when the external_ref is taken. 422 when the assignee is not a member of the project, or the
    parent is in another project or too deep.
    """
    made = create_tasks(request.auth, [new_task(resolve(request.auth, body.sent_fields()))])
    return updated_response(request, made[0], status=201)


@tasks.post("/bulk", response=TaskBulkResponse)
def bulk_edit_tasks(request: ActorRequest, body: TaskBulk) -> HttpResponse:
    """Up to 500 operations: create, update, complete, reopen, move, assign, tag, untag and
    delete. Each names its task by `id`, or many by `where`, which takes the filters of the list.

    All or nothing, unless `on_error` is `continue`: then each result has its task or its problem. A
    task is shown once, in its last result. A request makes at most 100 new tags and writes at most
    4 MiB of titles, descriptions and metadata, replaced text included: 422 `too_many`, `too_large`.
    New tasks are made first, the rest is done in order. 409, 404 or 422 as the first refused
    operation would answer alone, with all of them in `errors`.
    """
    return run_bulk(request.auth, body)


@tasks.get("/{task_id}", response=TaskResponse)
def get_task(request: ActorRequest, task_id: IdOrKey) -> HttpResponse:
    """One task, by id or key (WEB-12); a key it had before it moved finds it too."""
    return task_response(request, task_id)


@tasks.api_operation(["PATCH", "PUT"], "/{task_id}", response=TaskResponse)
def update_task(
    request: ActorRequest, task_id: IdOrKey, body: TaskUpdate, force: Query[Forced]
) -> HttpResponse:
    """Change the fields that are sent. Null empties a field; `tags` and `blocked_by` replace all.

    PUT does the same: fields that are absent stay as they are. 409 for a parent below the task, a
    blocker that waits for it, a taken external_ref; and, unless forced, for a status of done while
    subtasks or blockers are open.
    """
    task = find_task(request.auth, task_id)
    sent = body.sent_fields()
    known = task.blocked_by.all() if "blocked_by" in sent else ()
    values = References(request.auth, [sent]).resolve(sent, known=known)
    actions.update_task(request.auth, task, force=force.force, **values)
    return updated_response(request, task)


@tasks.delete("/{task_id}", response={204: None})
def delete_task(request: ActorRequest, task_id: IdOrKey) -> Answer[None]:
    """Move a task and its subtasks to the trash, from where they can be restored."""
    actions.delete_task(request.auth, find_task(request.auth, task_id))
    return Answer(204, None)


@tasks.post("/{task_id}/completion", response=TaskResponse)
def complete_task(request: ActorRequest, task_id: IdOrKey, force: Query[Forced]) -> HttpResponse:
    """Complete a task. Completing a done task changes nothing.

    409 `open_work` when subtasks or blockers are open, with each in `errors`, unless forced.
    """
    task = find_task(request.auth, task_id)
    actions.complete_task(request.auth, task, force=force.force)
    return updated_response(request, task)


@tasks.delete("/{task_id}/completion", response=TaskResponse)
def reopen_task(request: ActorRequest, task_id: IdOrKey) -> HttpResponse:
    """Set a done task to do again. Reopening an open task changes nothing."""
    task = actions.reopen_task(request.auth, find_task(request.auth, task_id))
    return updated_response(request, task)


@tasks.post("/{task_id}/assignment", response=TaskResponse)
def assign_task(request: ActorRequest, task_id: IdOrKey, body: TaskAssignment) -> HttpResponse:
    """Assign a task to a user. 422 when the user is not a member of the project."""
    task = find_task(request.auth, task_id)
    actions.assign_task(request.auth, task, **resolve(request.auth, body.sent_fields()))
    return updated_response(request, task)


@tasks.delete("/{task_id}/assignment", response=TaskResponse)
def unassign_task(request: ActorRequest, task_id: IdOrKey) -> HttpResponse:
    """Take a task from its assignee."""
    task = actions.assign_task(request.auth, find_task(request.auth, task_id), None)
    return updated_response(request, task)


@tasks.post("/{task_id}/move", response=TaskResponse)
def move_task(request: ActorRequest, task_id: IdOrKey, body: TaskMove) -> HttpResponse:
    """Move a task and its subtasks to another project of yours, where they get new numbers.

    The old keys still find them. A subtask leaves its parent, and an assignee who is not a member
    of the other project is unassigned. 409 when an external_ref is taken there.
    """
    task = find_task(request.auth, task_id)
    actions.move_task(request.auth, task, resolve(request.auth, body.sent_fields())["project"])
    return updated_response(request, task)
