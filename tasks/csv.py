"""Write the tasks of a project as CSV, and create tasks from CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from django.db.models import QuerySet
from pydantic import ValidationError

from accounts.models import User
from taskflow.audit.actor import Actor
from taskflow.audit.resource_types import type_of_model
from taskflow.http.errors import Invalid, Problem
from taskflow.http.parsing import parse_metadata, problem_of_validation
from tasks.changes.create import CreateTask, create_tasks
from tasks.models import Project, Task
from tasks.queries.lookup import find_tasks
from tasks.rules import require_member
from tasks.schemas.tasks import TaskFields

# The first column and the last two are only written: they are ignored when a file is read.
COLUMNS = ("key", *type_of_model(Task).csv_columns, "created_at", "completed_at")
MAX_LINES = 5000
MAX_LISTED_CELLS = 100  # invalid cells in one error
CHUNK = 1000  # tasks that one query reads
# A spreadsheet would run a cell as a formula if it begins with one of these.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def write_csv(rows: QuerySet[Task]) -> str:
    """Return the tasks as CSV, ordered by id. Reads CHUNK tasks at a time."""
    output = io.StringIO()
    writer = csv.writer(output)
    writer.writerow(COLUMNS)
    for task in _read_in_chunks(rows):
        writer.writerow(_build_line(task))
    return output.getvalue()


def _read_in_chunks(rows: QuerySet[Task]) -> Iterator[Task]:
    """Yield the tasks ordered by id, CHUNK per query."""
    details = rows.with_details().select_related("parent__project")  # type: ignore[attr-defined]
    last_id, is_last_chunk = 0, False
    while not is_last_chunk:
        chunk: list[Task] = list(details.filter(pk__gt=last_id).order_by("pk")[:CHUNK])
        yield from chunk
        is_last_chunk = len(chunk) < CHUNK
        last_id = 0 if is_last_chunk else chunk[-1].pk


def _build_line(task: Task) -> list[str]:
    return [_quote_formula(_format_value(task, column)) for column in COLUMNS]


def _format_value(task: Task, column: str) -> str:
    """Return a value as create_tasks_from_csv() accepts it; an empty text for None."""
    value: Any = getattr(task, column)
    if column == "tags":
        return "; ".join(tag.name for tag in value.all())
    if isinstance(value, User):
        return value.handle
    if isinstance(value, Task):
        return value.key
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False) if value else ""
    if isinstance(value, date):  # or a datetime
        return value.isoformat()
    return "" if value is None else str(value)


def _quote_formula(value: str) -> str:
    """Return the text with a leading quote if a spreadsheet would run it as a formula."""
    return f"'{value}" if value.startswith(FORMULA_STARTS) else value


# ---- reading ------------------------------------------------------------------------------------


def create_tasks_from_csv(actor: Actor, project: Project, text: str) -> list[Task]:
    """Create a task from each line, or no task at all.

    Raises Invalid with every invalid cell in `errors`, by line and column, Forbidden unless the
    actor may write in the project, and Conflict if it is archived.
    """
    require_member(actor, project)
    lines = list(_read_lines(text))
    problems: dict[int, Problem] = {}
    fields: dict[int, TaskFields] = {}
    for number, cells in lines:
        try:
            fields[number] = TaskFields.model_validate(parse_cells(cells))
        except ValidationError as error:
            errors = [{**e, "loc": ("body", "body", *e["loc"])} for e in error.errors()]
            problems[number] = problem_of_validation(errors)
        except Problem as problem:
            problems[number] = problem
    valid_lines = {number: cells for number, cells in lines if number in fields}
    new_tasks = _build_new_tasks(actor, project, valid_lines, fields, problems)
    refused: dict[int, Problem] = {}
    created = {} if problems else create_tasks(actor, list(new_tasks.values()), refused)
    problems |= {list(new_tasks)[index]: problem for index, problem in refused.items()}
    if problems:
        raise _merge_problems(problems)
    return list(created.values())


def _read_lines(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line number, cells by column) for each line. Empty cells and lines are left out.

    Raises Invalid if the file is not CSV or has more than MAX_LINES lines.
    """
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff")), strict=True)
    try:
        names = [name.strip().lower() for name in next(reader, [])]
        _check_header(names)
        count = 0
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            count += 1
            if count > MAX_LINES:
                raise Invalid(f"The file has more than {MAX_LINES} lines. Split it.")
            if len(cells) > len(names):
                raise Invalid(
                    f"Line {reader.line_num} has more cells than the first line. Quote cells with a"
                    " comma."
                )
            yield reader.line_num, {n: _unquote(c) for n, c in zip(names, cells, strict=False) if c}
    except csv.Error as error:
        raise Invalid(f"Line {reader.line_num} is not valid CSV: {error}.") from None


def _check_header(names: list[str]) -> None:
    """Raise Invalid unless the columns are known, each is named once, and there is a title."""
    unknown = [name for name in names if name not in COLUMNS]
    if "title" not in names or unknown or len(set(names)) < len(names):
        fault = (
            f"There is no column “{unknown[0]}”"
            if unknown
            else "Each column must be named once, and title is required"
        )
        raise Invalid(f"{fault}. The first line can name these columns: {', '.join(COLUMNS)}.")


def _unquote(cell: str) -> str:
    """Return the cell without the leading quote that _quote_formula() has added."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(FORMULA_STARTS) else cell


def parse_cells(cells: dict[str, str]) -> dict[str, Any]:
    """Return the cells of a line as the values of a request body.

    Raises Invalid for metadata that is not JSON.
    """
    sent: dict[str, Any] = {n: v for n, v in cells.items() if n in TaskFields.model_fields}
    if "tags" in sent:
        sent["tags"] = [name.strip() for name in sent["tags"].split(";") if name.strip()]
    if "metadata" in sent:
        try:
            sent["metadata"] = parse_metadata(sent["metadata"])
        except ValueError as error:
            raise Invalid.field("metadata", f"Metadata cannot be read: {error}") from None
    return sent


def _build_new_tasks(
    actor: Actor,
    project: Project,
    lines: dict[int, dict[str, str]],
    fields: dict[int, TaskFields],
    problems: dict[int, Problem],
) -> dict[int, CreateTask]:
    """Return the new task of each line, by line number.

    Looks up assignees and parents with one query each. A line with an unknown one gets an entry in
    `problems`.
    """
    handles = {c["assignee"].lstrip("@").lower() for c in lines.values() if "assignee" in c}
    users = User.objects.visible_to(actor.viewer).filter(handle__in=sorted(handles))
    user_by_handle = {user.handle: user for user in users} if handles else {}
    parents = find_tasks(actor, {c["parent"] for c in lines.values() if "parent" in c})
    new_tasks = {}
    for number, cells in lines.items():
        values = fields[number].sent_fields()
        new_task = CreateTask(project, values.pop("title"), values, tags=values.pop("tags", ()))
        if "assignee" in cells:
            values["assignee"] = user_by_handle.get(cells["assignee"].lstrip("@").lower())
            if values["assignee"] is None:
                problems[number] = Invalid.field("assignee", "There is no user with this handle.")
        if "parent" in cells:
            new_task.parent = parents.get(cells["parent"])
            if new_task.parent is None:
                problems[number] = Invalid.field("parent", "There is no such task.")
        new_tasks[number] = new_task
    return new_tasks


def _merge_problems(problems: dict[int, Problem]) -> Invalid:
    """Return one error with the line and column of each problem."""
    errors = [
        {
            "line": number,
            "column": _column_of(error),
            "code": error["code"],
            "detail": error["detail"],
        }
        for number, problem in sorted(problems.items())
        for error in problem.errors or [{"code": problem.code, "detail": problem.detail}]
    ]
    first = errors[0]
    return Invalid(
        f"Line {first['line']}: {first['detail']}"
        + (f" And {len(errors) - 1} more." if len(errors) > 1 else ""),
        code="bad_lines",
        errors=errors[:MAX_LISTED_CELLS],
    )


def _column_of(error: Mapping[str, object]) -> str | None:
    """Return the column that the pointer of an error names, or None."""
    name = str(error.get("pointer", "")).removeprefix("#/").split("/")[0].removesuffix("_id")
    return name or None
