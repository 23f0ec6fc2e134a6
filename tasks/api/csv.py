"""A project's tasks as CSV."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router
from pydantic import Field

from taskflow.audit.actor import ActorRequest
from taskflow.http.charsets import check_charset
from taskflow.http.errors import Invalid, UnsupportedMedia
from taskflow.http.schema import IdOrKey, Out, is_unstorable
from tasks.csv import read_sheet, write_sheet
from tasks.models import Task
from tasks.queries.filters import filter_tasks
from tasks.queries.lookup import find_project
from tasks.schemas.tasks import TaskWhere

sheets = Router(tags=["Projects"])
CSV = {"text/csv": {"schema": {"type": "string", "format": "binary"}}}  # else no client sends files


class ImportedTasks(Out):
    created: int
    keys: list[str] = Field(description="Of the tasks made.")


@sheets.get(
    "/{project_id}/tasks.csv",
    response={200: None},
    openapi_extra={"responses": {200: {"description": "A sheet.", "content": CSV}}},
)
def export_tasks(
    request: ActorRequest, project_id: IdOrKey, where: Query[TaskWhere]
) -> HttpResponse:
    """A project's tasks as a sheet, by id; the filters of the list narrow it.

    A cell that a spreadsheet would take for a formula has ' before it.
    """
    project = find_project(request.auth, project_id)
    rows = filter_tasks(request.auth, Task.objects.visible_to(request.auth.viewer), where)
    answer = HttpResponse(write_sheet(rows.filter(project=project)), content_type="text/csv")
    answer["Content-Disposition"] = f'attachment; filename="{project.key}.csv"'
    return answer


@sheets.post(
    "/{project_id}/tasks.csv",
    response=ImportedTasks,
    openapi_extra={
        "requestBody": {"required": True, "content": CSV},
        "responses": {415: {"$ref": "#/components/responses/UnsupportedMedia"}},
    },
)
def import_tasks(request: ActorRequest, project_id: IdOrKey) -> dict[str, Any]:
    """Make a task of each line of a sheet: all of them, or none.

    The first line names the columns: title, and any of description, status, priority, assignee
    (handle), tags (a; b), due_date, due_on, parent (WEB-12), external_ref and metadata; key,
    created_at and completed_at are ignored. 422 `bad_lines` names each bad cell by `line` and
    `column`.
    """
    project = find_project(request.auth, project_id)
    made = read_sheet(request.auth, project, _text_of(request))
    return {"created": len(made), "keys": [task.key for task in made]}


def _text_of(request: HttpRequest) -> str:
    if request.content_type != "text/csv":
        raise UnsupportedMedia("Send the sheet as Content-Type: text/csv.")
    check_charset(request)
    try:
        text = request.body.decode()
    except UnicodeDecodeError:
        raise Invalid("The sheet is not UTF-8.") from None
    if is_unstorable(text):
        raise Invalid("The sheet holds NUL or half a character.")
    return text
