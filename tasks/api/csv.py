"""Operations on the tasks of a project as CSV."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router
from pydantic import Field

from taskflow.audit.actor import ActorRequest
from taskflow.http.charsets import check_charset
from taskflow.http.errors import Invalid, UnsupportedMedia
from taskflow.http.schema import Out, ProjectIdOrKey, is_unstorable
from tasks.csv import create_tasks_from_csv, write_csv
from tasks.models import Task
from tasks.queries.filters import filter_tasks
from tasks.queries.lookup import find_project
from tasks.schemas.tasks import TaskWhere

csv_files = Router(tags=["Projects"])
# `binary`, because generated clients send files only for this format.
CSV = {"text/csv": {"schema": {"type": "string", "format": "binary"}}}
CSV_BODY = {"text/csv": CSV["text/csv"] | {"example": "title,priority\nBuy paint,high\n"}}


class ImportedTasks(Out):
    """The tasks that were created from a file."""

    created: int = Field(description="The number of created tasks.")
    keys: list[str] = Field(description="The keys of the created tasks.")


@csv_files.get(
    "/{project_id}/tasks.csv",
    response={200: None},
    openapi_extra={
        "responses": {
            200: {
                "description": "The tasks as CSV.",
                "headers": {
                    "Content-Disposition": {
                        "description": "The name of the file.",
                        "required": True,
                        "schema": {"type": "string"},
                    }
                },
                "content": CSV,
            }
        }
    },
)
def export_tasks(
    request: ActorRequest, project_id: ProjectIdOrKey, where: Query[TaskWhere]
) -> HttpResponse:
    """Export the tasks of a project as CSV, ordered by id. Takes the filters of the list of tasks.

    A cell that a spreadsheet would run as a formula has a leading '.
    """
    project = find_project(request.auth, project_id)
    rows = filter_tasks(request.auth, Task.objects.visible_to(request.auth.viewer), where)
    response = HttpResponse(write_csv(rows.filter(project=project)), content_type="text/csv")
    response["Content-Disposition"] = f'attachment; filename="{project.key}.csv"'
    return response


@csv_files.post(
    "/{project_id}/tasks.csv",
    response=ImportedTasks,
    openapi_extra={
        "requestBody": {"required": True, "content": CSV_BODY},
        "responses": {415: {"$ref": "#/components/responses/UnsupportedMedia"}},
    },
)
def import_tasks(request: ActorRequest, project_id: ProjectIdOrKey) -> dict[str, object]:
    """Create a task from each line of a CSV file: all of them, or none.

    The first line contains the names of the columns: title, and any of description, status,
    priority, assignee (a handle), tags (a; b), due_date, due_on, parent (WEB-12), external_ref and
    metadata. key, created_at and completed_at are ignored. 422 `bad_lines` lists each bad cell by
    `line` and `column`.
    """
    project = find_project(request.auth, project_id)
    created = create_tasks_from_csv(request.auth, project, _read_body(request))
    return {"created": len(created), "keys": [task.key for task in created]}


def _read_body(request: HttpRequest) -> str:
    """Return the body as text. Raises UnsupportedMedia or Invalid if it is not CSV in UTF-8."""
    if request.content_type != "text/csv":
        raise UnsupportedMedia("Send the file as Content-Type: text/csv.")
    check_charset(request)
    try:
        text = request.body.decode()
    except UnicodeDecodeError:
        raise Invalid("The file is not UTF-8. Save it as UTF-8 and send it again.") from None
    if is_unstorable(text):
        raise Invalid("The file contains NUL or an unpaired surrogate. Remove it.")
    return text
