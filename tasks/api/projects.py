"""Operations on projects and their members."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Path, Query, Router, Status

from taskflow.audit.actor import ActorRequest
from taskflow.audit.merge_patch import read_patch
from taskflow.http.fields import RowParams
from taskflow.http.paging import PageContents, PageParams, paginate
from taskflow.http.preferences import mark_applied, read_return_preference
from taskflow.http.query_parameters import with_query
from taskflow.http.responses import respond
from taskflow.http.schema import ProjectIdOrKey
from tasks.actions import members as member_actions
from tasks.actions import projects as actions
from tasks.api.first_tasks import create_first_tasks
from tasks.api.responses import (
    deleted_response,
    detail_response,
    list_response,
    project_response,
    updated_response,
)
from tasks.changes.tasks import upsert_task as upsert
from tasks.models import Project, ProjectMember, Task
from tasks.queries.filters import PROJECT_SORTS
from tasks.queries.lookup import find_project, find_row
from tasks.queries.references import resolve
from tasks.schemas.projects import (
    CompletedTasks,
    MemberRemoval,
    ProjectCreate,
    ProjectFilters,
    ProjectListResponse,
    ProjectMemberCreate,
    ProjectMemberListResponse,
    ProjectMemberResponse,
    ProjectMemberUpdate,
    ProjectResponse,
    ProjectUpdate,
)
from tasks.schemas.tasks import ExternalRef, Forced, TaskParams, TaskResponse, TaskUpsert
from tasks.schemas.trash import Deletion

projects = Router(tags=["Projects"])
members = Router(tags=["Members"])


@projects.get("", response=ProjectListResponse)
def list_projects(request: ActorRequest, filters: Query[ProjectFilters]) -> HttpResponse:
    """List the projects that you are a member of, newest first, with task counts by status.

    Administrators see all projects of the tenant.
    """
    return list_response(request, Project, filters, sorts=PROJECT_SORTS)


@projects.post("", response={201: ProjectResponse})
def create_project(request: ActorRequest, body: ProjectCreate) -> HttpResponse:
    """Create a project, optionally with its first tasks. Its owner becomes its first member.

    If `key` is missing, it is derived from the name. Each of `tasks` may contain `subtasks`, and a
    `ref` by which other tasks name it in `blocked_by`. If a task is refused, nothing is created and
    the error has a pointer to it, such as #/tasks/3/title. 409 if the key is taken.
    """
    sent = body.sent_fields()
    first_tasks = sent.pop("tasks", [])
    project = actions.create_project(request.auth, **resolve(request.auth, sent))
    create_first_tasks(request.auth, project, first_tasks)
    return updated_response(request, project, status=201)


@projects.get("/{project_id}", response=ProjectResponse, openapi_extra=with_query(RowParams))
def get_project(request: ActorRequest, project_id: ProjectIdOrKey) -> HttpResponse:
    """Get a project by id or key."""
    return project_response(request, project_id)


@projects.api_operation(["PATCH", "PUT"], "/{project_id}", response=ProjectResponse)
def update_project(
    request: ActorRequest, project_id: ProjectIdOrKey, body: ProjectUpdate, force: Query[Forced]
) -> HttpResponse:
    """Change the fields that are sent. For owners and admins of the project; `owner_id` only for
    owners.

    With `Content-Type: application/merge-patch+json`, PATCH merges `metadata` by key (RFC 7396);
    null removes a key there. PUT does the same as PATCH: absent fields stay as they are. 409
    `open_work` if the project would be completed with open tasks, unless `force` is true. 409
    `project_archived` if the project is archived: an administrator can only reopen it, with another
    status.
    """
    project = find_project(request.auth, project_id)
    values = resolve(request.auth, read_patch(request, body))
    actions.update_project(request.auth, project, force=force.force, **values)
    return updated_response(request, project)


@projects.delete("/{project_id}", response={200: Deletion, 204: None})
def delete_project(request: ActorRequest, project_id: ProjectIdOrKey) -> HttpResponse:
    """Move a project and everything in it to the trash. For its owners.

    204 without a body. With `Prefer: return=representation` the answer is 200 and contains how many
    rows went to the trash.
    """
    project = find_project(request.auth, project_id)
    actions.delete_project(request.auth, project)
    return deleted_response(request, project)


@projects.post("/{project_id}/completion", response=CompletedTasks)
def complete_project_tasks(
    request: ActorRequest, project_id: ProjectIdOrKey, force: Query[Forced]
) -> dict[str, int]:
    """Complete all open tasks of a project that you are a member of. Returns their number.

    409 `open_work` if open tasks of other projects block some of them, unless `force` is true.
    """
    project = find_project(request.auth, project_id)
    count = actions.complete_project_tasks(request.auth, project, force=force.force)
    return {"completed": count}


@projects.get(
    "/{project_id}/tasks/by-ref/{path:ref}",
    response=TaskResponse,
    openapi_extra=with_query(TaskParams),
)
def get_task_by_ref(
    request: ActorRequest, project_id: ProjectIdOrKey, ref: Path[ExternalRef]
) -> HttpResponse:
    """Get the task of a project with this external_ref.

    With `include=comments` the task contains its latest 50 comments.
    """
    project = find_project(request.auth, project_id)
    return detail_response(request, Task, project=project.pk, external_ref=ref)


@projects.put(
    "/{project_id}/tasks/by-ref/{path:ref}", response={200: TaskResponse, 201: TaskResponse}
)
def upsert_task(
    request: ActorRequest, project_id: ProjectIdOrKey, ref: Path[ExternalRef], body: TaskUpsert
) -> HttpResponse:
    """Create the task with this external_ref (201), or change it if it exists (200).

    Two such requests at the same time create one task. A new task needs a title. 409 if the task is
    in the trash.
    """
    project = find_project(request.auth, project_id)
    values = resolve(request.auth, body.sent_fields())
    task, is_new = upsert(request.auth, project, ref, **values)
    return updated_response(request, task, status=201 if is_new else 200)


@projects.get("/{project_id}/members", response=ProjectMemberListResponse)
def list_members(
    request: ActorRequest, project_id: ProjectIdOrKey, page: Query[PageParams]
) -> PageContents[ProjectMember]:
    """List the members of a project, in the order in which they joined."""
    project = find_project(request.auth, project_id)
    rows = ProjectMember.objects.filter(project=project).select_related("user")
    return paginate(rows, page, order=["id"])


@projects.post("/{project_id}/members", response={201: ProjectMemberResponse})
def add_member(
    request: ActorRequest, project_id: ProjectIdOrKey, body: ProjectMemberCreate
) -> Status[ProjectMember]:
    """Add a user of the tenant to the project. For its owners and admins.

    Only owners may add owners. 409 if the user is already a member.
    """
    project = find_project(request.auth, project_id)
    values = {"role": body.role} | resolve(request.auth, body.sent_fields())
    return Status(201, member_actions.add_member(request.auth, project, **values))


@members.get("/{id:member_id}", response=ProjectMemberResponse)
def get_member(request: ActorRequest, member_id: int) -> ProjectMember:
    """Get a membership of a project that you can see."""
    return find_row(request.auth, ProjectMember, member_id)


@members.patch("/{id:member_id}", response=ProjectMemberResponse)
def update_member(
    request: ActorRequest, member_id: int, body: ProjectMemberUpdate
) -> ProjectMember:
    """Change the role of a member. 409 for the last active owner."""
    member = find_row(request.auth, ProjectMember, member_id)
    return member_actions.change_role(request.auth, member, role=body.role)


@members.delete("/{id:member_id}", response={200: MemberRemoval, 204: None})
def remove_member(request: ActorRequest, member_id: int) -> HttpResponse:
    """End a membership. Members may end their own. 409 for the last active owner.

    The user's open tasks in the project are unassigned, unless the user is an administrator. 204
    without a body; with `Prefer: return=representation` 200 with their number.
    """
    member = find_row(request.auth, ProjectMember, member_id)
    count = member_actions.remove_member(request.auth, member)
    if read_return_preference(request) != "representation":
        return HttpResponse(status=204)
    text = MemberRemoval(tasks_unassigned=count).model_dump_json()
    return mark_applied(respond(request, text), "representation")
