"""Tasks of a project as CSV: written, and read as new tasks."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
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
from tasks.schemas.tasks import TaskFields

# The first and the last two are written, and ignored when they are read.
COLUMNS = ("key", *type_of_model(Task).csv_columns, "created_at", "completed_at")
MAX_LINES = 5000
MAX_LISTED_CELLS = 100  # bad cells in one error
CHUNK = 1000  # tasks read at a time
# The first characters of a cell that a spreadsheet would run as a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_csv(rows: QuerySet[Task]) -> str:
    """Return the tasks as CSV, ordered by id. Reads CHUNK tasks at a time."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for task in _all(rows):
        writer.writerow(_row(task))
    return out.getvalue()


def _all(rows: QuerySet[Task]) -> Iterator[Task]:
    details = rows.with_details().select_related("parent__project")  # type: ignore[attr-defined]
    last, is_over = 0, False
    while not is_over:
        found: list[Task] = list(details.filter(pk__gt=last).order_by("pk")[:CHUNK])
        yield from found
        is_over = len(found) < CHUNK
        last = 0 if is_over else found[-1].pk


def _row(task: Task) -> list[str]:
    return [_cell(_text_of(task, column)) for column in COLUMNS]


def _text_of(task: Task, column: str) -> str:
    """Return the value of a column as read_csv() takes it; empty for None."""
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


def _cell(value: str) -> str:
    return f"'{value}" if value.startswith(FORMULA) else value


# ---- and back -----------------------------------------------------------------------------------


def read_csv(actor: Actor, project: Project, text: str) -> list[Task]:
    """Create a task from each line. Raises Invalid, with each bad cell in `errors`, and creates
    nothing then.
    """
    lines = list(_read_lines(text))
    problems: dict[int, Problem] = {}
    fields: dict[int, TaskFields] = {}
    for number, cells in lines:
        try:
            fields[number] = TaskFields.model_validate(parse_cells(cells))
        except ValidationError as error:
            found = [{**e, "loc": ("body", "body", *e["loc"])} for e in error.errors()]
            problems[number] = problem_of_validation(found)
        except Problem as problem:
            problems[number] = problem
    drafts = _drafts(actor, project, {n: c for n, c in lines if n in fields}, fields, problems)
    refused: dict[int, Problem] = {}
    made = {} if problems else create_tasks(actor, list(drafts.values()), refused)
    problems |= {list(drafts)[n]: problem for n, problem in refused.items()}
    if problems:
        raise _bad_lines(problems)
    return list(made.values())


def _read_lines(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the number of each line in the file, and its cells that are not empty, by column."""
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
                raise Invalid(f"The file has more than {MAX_LINES} lines. Send fewer at once.")
            if len(cells) > len(names):
                raise Invalid(f"Line {reader.line_num} has more cells than the first line.")
            yield reader.line_num, {n: _unquote(c) for n, c in zip(names, cells, strict=False) if c}
    except csv.Error as error:
        raise Invalid(f"Line {reader.line_num} is not CSV: {error}.") from None


def _check_header(names: list[str]) -> None:
    unknown = [name for name in names if name not in COLUMNS]
    if "title" not in names or unknown or len(set(names)) < len(names):
        what = f"“{unknown[0]}” is no column" if unknown else "Name each column once, and a title"
        raise Invalid(f"{what}. The first line names the columns: {', '.join(COLUMNS)}.")


def _unquote(cell: str) -> str:
    """Return the cell without the quote that stops spreadsheets from running it."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(FORMULA) else cell


def parse_cells(cells: dict[str, str]) -> dict[str, Any]:
    """Return the values of a line as a request body has them. Raises Invalid for bad metadata."""
    sent: dict[str, Any] = {n: v for n, v in cells.items() if n in TaskFields.model_fields}
    if "tags" in sent:
        sent["tags"] = [name.strip() for name in sent["tags"].split(";") if name.strip()]
    if "metadata" in sent:
        try:
            sent["metadata"] = parse_metadata(sent["metadata"])
        except ValueError as error:
            raise Invalid.field("metadata", f"Metadata cannot be read: {error}") from None
    return sent


def _drafts(
    actor: Actor,
    project: Project,
    lines: dict[int, dict[str, str]],
    fields: dict[int, TaskFields],
    problems: dict[int, Problem],
) -> dict[int, CreateTask]:
    handles = {c["assignee"].lstrip("@").lower() for c in lines.values() if "assignee" in c}
    users = User.objects.visible_to(actor.viewer).filter(handle__in=sorted(handles))
    people = {user.handle: user for user in users} if handles else {}
    parents = find_tasks(actor, {c["parent"] for c in lines.values() if "parent" in c})
    drafts = {}
    for number, cells in lines.items():
        values = fields[number].sent_fields()
        draft = CreateTask(project, values.pop("title"), values, tags=values.pop("tags", ()))
        if "assignee" in cells:
            values["assignee"] = people.get(cells["assignee"].lstrip("@").lower())
            if values["assignee"] is None:
                problems[number] = Invalid.field("assignee", "There is no such user.")
        if "parent" in cells:
            draft.parent = parents.get(cells["parent"])
            if draft.parent is None:
                problems[number] = Invalid.field("parent", "There is no such task.")
        drafts[number] = draft
    return drafts


def _bad_lines(problems: dict[int, Problem]) -> Invalid:
    errors = [
        {"line": number, "column": _column(error), "code": error["code"], "detail": error["detail"]}
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


def _column(error: Any) -> str | None:
    name = str(error.get("pointer", "")).removeprefix("#/").split("/")[0].removesuffix("_id")
    return name or None
