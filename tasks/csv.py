"""A project's tasks as a sheet of comma-separated values, and back."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

from django.db.models import QuerySet
from pydantic import ValidationError

from accounts.models import User
from taskflow.audit.actor import Actor
from taskflow.http.errors import Invalid, Problem
from taskflow.http.parsing import parse_metadata, problem_of_validation
from tasks.changes.creation import Draft, create_tasks
from tasks.models import Project, Task
from tasks.queries.lookup import find_tasks
from tasks.schemas.tasks import TaskFields

WRITTEN = ("title", "description", "status", "priority", "assignee", "tags", "due_date", "due_on",
           "parent", "external_ref", "metadata")  # fmt: skip
COLUMNS = ("key", *WRITTEN, "created_at", "completed_at")  # the others are ignored on the way in
MOST_LINES = 5000
MOST_NAMED = 100  # bad cells in one refusal
CHUNK = 1000  # tasks read at a time
# What a spreadsheet would take for a formula, and run.
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_sheet(rows: QuerySet[Task]) -> str:
    """All rows, by id."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for task in _all(rows):
        writer.writerow([_cell(value) for value in _line(task)])
    return out.getvalue()


def _all(rows: QuerySet[Task]) -> Iterator[Task]:
    details = rows.with_details().select_related("parent__project")  # type: ignore[attr-defined]
    last, is_over = 0, False
    while not is_over:
        found: list[Task] = list(details.filter(pk__gt=last).order_by("pk")[:CHUNK])
        yield from found
        is_over = len(found) < CHUNK
        last = 0 if is_over else found[-1].pk


def _line(task: Task) -> Sequence[Any]:
    return [
        task.key,
        task.title,
        task.description,
        task.status,
        task.priority,
        task.assignee.handle if task.assignee else "",
        "; ".join(tag.name for tag in task.tags.all()),
        task.due_date.isoformat() if task.due_date else "",
        task.due_on.isoformat() if task.due_on else "",
        task.parent.key if task.parent else "",
        task.external_ref or "",
        json.dumps(task.metadata, ensure_ascii=False) if task.metadata else "",
        task.created_at.isoformat(),
        task.completed_at.isoformat() if task.completed_at else "",
    ]


def _cell(value: str) -> str:
    return f"'{value}" if value.startswith(FORMULA) else value


# ---- and back -----------------------------------------------------------------------------------


def read_sheet(actor: Actor, project: Project, text: str) -> list[Task]:
    """Make a task of each line. Raises Invalid, naming each bad cell, and then nothing is made."""
    lines = list(_read_lines(text))
    problems: dict[int, Problem] = {}
    fields: dict[int, TaskFields] = {}
    for number, cells in lines:
        try:
            fields[number] = TaskFields.model_validate(sent_values(cells))
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
        raise _refusal(problems)
    return list(made.values())


def _read_lines(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """The number of each line in the file, and its cells that hold something."""
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff")), strict=True)
    try:
        names = [name.strip().lower() for name in next(reader, [])]
        _check_header(names)
        count = 0
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            count += 1
            if count > MOST_LINES:
                raise Invalid(f"The sheet has more than {MOST_LINES} lines. Send less at a time.")
            if len(cells) > len(names):
                raise Invalid(f"Line {reader.line_num} has more cells than the first line.")
            yield reader.line_num, {n: _bare(c) for n, c in zip(names, cells, strict=False) if c}
    except csv.Error as error:
        raise Invalid(f"Line {reader.line_num} is not CSV: {error}.") from None


def _check_header(names: list[str]) -> None:
    unknown = [name for name in names if name not in COLUMNS]
    if "title" not in names or unknown or len(set(names)) < len(names):
        what = f"“{unknown[0]}” is no column" if unknown else "Each column once, and a title"
        raise Invalid(f"{what}. The first line names the columns: {', '.join(COLUMNS)}.")


def _bare(cell: str) -> str:
    """Without the quote that keeps a spreadsheet from running it."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(FORMULA) else cell


def sent_values(cells: dict[str, str]) -> dict[str, Any]:
    """Return the values of a line as a body would have them. Raises Invalid for bad metadata."""
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
) -> dict[int, Draft]:
    handles = {c["assignee"].lstrip("@").lower() for c in lines.values() if "assignee" in c}
    users = User.objects.visible_to(actor.viewer).filter(handle__in=sorted(handles))
    people = {user.handle: user for user in users} if handles else {}
    parents = find_tasks(actor, {c["parent"] for c in lines.values() if "parent" in c})
    drafts = {}
    for number, cells in lines.items():
        values = fields[number].sent()
        draft = Draft(project, values.pop("title"), values, tags=values.pop("tags", ()))
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


def _refusal(problems: dict[int, Problem]) -> Invalid:
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
        errors=errors[:MOST_NAMED],
    )


def _column(error: Any) -> str | None:
    name = str(error.get("pointer", "")).removeprefix("#/").split("/")[0].removesuffix("_id")
    return name or None
