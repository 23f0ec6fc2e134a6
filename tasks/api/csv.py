"""Operations on files of tasks: export and import of CSV, and imports from other systems."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router

from taskflow.audit.actor import ActorRequest
from taskflow.http.charsets import check_charset
from taskflow.http.errors import UnsupportedMedia
from taskflow.http.files import WrittenFile
from taskflow.http.schema import ProjectIdOrKey
from tasks.csv.foreign import PROFILES, is_json, read_file
from tasks.csv.importing import import_table
from tasks.csv.reading import decode_file, read_table
from tasks.csv.report import report_import, report_tasks
from tasks.csv.writing import csv_response
from tasks.models import Task
from tasks.queries.filters import filter_tasks
from tasks.queries.lookup import find_project
from tasks.schemas.csv import (
    CsvFormat,
    ImportedTasks,
    ImportOptions,
    ImportResult,
    ProfileOptions,
)
from tasks.schemas.task_filters import TaskWhere

csv_files = Router(tags=["Projects"])
# `binary`, because generated clients send files only for this format.
CSV = {"text/csv": {"schema": {"type": "string", "format": "binary"}}}
CSV_BODY = {"text/csv": CSV["text/csv"] | {"example": "title,priority\nBuy paint,high\n"}}
FILE_BODY: dict[str, dict[str, object]] = {
    "text/csv": CSV["text/csv"] | {"example": "Summary,Issue key\nBuy paint,HOME-1\n"},
    "application/json": {
        "schema": {},  # Trello exports an object, GitHub an array
        "example": [{"number": 1, "title": "Buy paint", "state": "open"}],
    },
}
UNSUPPORTED = {415: {"$ref": "#/components/responses/UnsupportedMedia"}}


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
    request: ActorRequest,
    project_id: ProjectIdOrKey,
    where: Query[TaskWhere],
    file_format: Query[CsvFormat],
) -> HttpResponse | WrittenFile:
    """Export the tasks of a project as CSV, ordered by id. Takes the filters of the list of tasks.

    The file can be imported again with the same result. A cell that a spreadsheet would run as a
    formula, or that begins with ', has a leading '.
    """
    actor, project = request.auth, find_project(request.auth, project_id)
    rows = filter_tasks(actor, Task.objects.visible_to(actor.viewer), where)
    return csv_response(actor, rows.filter(project=project), f"{project.key}.csv", file_format)


@csv_files.post(
    "/{project_id}/tasks.csv",
    response=ImportedTasks,
    openapi_extra={
        "requestBody": {"required": True, "content": CSV_BODY},
        "responses": UNSUPPORTED,
    },
)
def import_tasks(
    request: ActorRequest, project_id: ProjectIdOrKey, options: Query[ImportOptions]
) -> dict[str, object]:
    """Create a task from each row of a CSV file, or change the task that the row means: all rows,
    or none. At most 5,000 rows.

    The first line names the columns, which are those of the export; `map` names the fields of other
    columns. A row whose `key` or `external_ref` is that of a task of the project is refused unless
    `on_existing` is `update` or `skip`. `parent` and `blocked_by` may name other rows by their
    `key`, in any order. Only an administrator can set `created_by`, `created_at` and
    `completed_at`, and only of new tasks. 422 `bad_rows` lists each refused cell by `row` and
    `column`.
    """
    project = find_project(request.auth, project_id)
    _check_type(request, "text/csv")
    text = decode_file(request.body, _charset_of(request))
    table = read_table(text, _delimiter_of(options))
    return report_tasks(import_table(request.auth, project, table, options))


@csv_files.post(
    "/{project_id}/imports",
    response=ImportResult,
    openapi_extra={
        "requestBody": {"required": True, "content": FILE_BODY},
        "responses": UNSUPPORTED,
    },
)
def import_project(
    request: ActorRequest, project_id: ProjectIdOrKey, options: Query[ProfileOptions]
) -> dict[str, object]:
    """Import an export of Jira, Todoist or Asana (CSV), or of Trello or GitHub (JSON), into a
    project: all tasks and comments, or none. At most 5,000 rows.

    The body is the file. Authors and times are kept, for which the request must come from an
    administrator. With `dry_run=true` the response shows what would be created, the columns that
    are no field, and the first tasks. docs/import.md describes the columns of each profile.
    """
    project = find_project(request.auth, project_id)
    _check_type(request, "application/json" if is_json(options.profile) else "text/csv")
    table = read_file(options.profile, request.body, _charset_of(request), _delimiter_of(options))
    profile = PROFILES[options.profile]
    return report_import(import_table(request.auth, project, table, options, profile))


def _check_type(request: HttpRequest, content_type: str) -> None:
    """Raise UnsupportedMedia if the body has another content type, or is JSON and not UTF-8."""
    if request.content_type != content_type:
        raise UnsupportedMedia(f"Send the file as Content-Type: {content_type}.")
    if content_type != "text/csv":
        check_charset(request)


def _charset_of(request: HttpRequest) -> str | None:
    """Return the charset that the Content-Type names, or None."""
    return (request.content_params or {}).get("charset")


def _delimiter_of(options: ImportOptions) -> str | None:
    delimiter = options.sent_fields().get("delimiter")
    return delimiter.character if delimiter else None
