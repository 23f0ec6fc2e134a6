"""From the rows of a file to the values of tasks, checked by the schemas of request bodies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from django.db import models
from django.utils.translation import gettext, gettext_noop
from pydantic import BaseModel, ValidationError

from accounts.models import User
from taskflow.http.errors import Invalid, Problem
from taskflow.http.validation import problem_of_validation
from tasks.changes.create import CreateTask
from tasks.csv.columns import Columns
from tasks.csv.people import People
from tasks.csv.profiles import BLOCKS, COMMENT, REF, RESOLUTION
from tasks.csv.tables import Refusals, Row, Table
from tasks.csv.values import CellFormat, match_choice
from tasks.csv.writing import format_cells
from tasks.models import Outcome, Status, Task
from tasks.schemas.comments import CommentUpdate
from tasks.schemas.csv import HistoryFields
from tasks.schemas.tasks import TaskFields, TaskUpdate

SchemaT = TypeVar("SchemaT", bound=BaseModel)
# These name other rows of the file or of the database, or have a meaning only with other cells.
NO_VALUES = frozenset({"key", "parent", "blocked_by", REF, BLOCKS, COMMENT, RESOLUTION})
PEOPLE = ("assignee", "created_by")
TIMES_OF_HISTORY = ("created_at", "completed_at")
COMMENT_PARTS = 3  # time;author;text


# Fields of any text. In their cells, blanks are a value.
FREE_TEXTS = frozenset(
    field.name
    for field in Task._meta.get_fields()
    if isinstance(field, models.CharField | models.TextField) and not field.choices
)


def has_value(target: str, text: str) -> bool:
    """Whether a cell is not empty. Blanks alone are no value, except of a field of any text."""
    return bool(text if target in FREE_TEXTS else text.strip())


@dataclass
class NewComment:
    """A comment of a row. `author` is None for the user who imports."""

    body: str
    created_at: datetime | None = None
    author: User | None = None


@dataclass(eq=False)
class Entry:
    """A row, and the task that it creates or changes.

    `task` is the task that is in the project already, and is loaded by select_details(). `stored`
    are its cells as an export would write them.
    """

    row: Row
    texts: Mapping[str, Sequence[str]]
    kept: Mapping[str, str | list[str]]
    task: Task | None = None
    stored: Mapping[str, str] = field(default_factory=dict)
    values: dict[str, object] = field(default_factory=dict)  # of the task's fields
    history: dict[str, object] = field(default_factory=dict)
    comments: list[NewComment] = field(default_factory=list)
    new: CreateTask | None = None
    refused: set[str] = field(default_factory=set)  # fields without a value, because it is refused

    def text(self, target: str) -> str:
        """Return the first cell of a target without surrounding blanks; empty without one."""
        return next((text.strip() for text in self.texts.get(target, ())), "")

    def is_sent(self, target: str) -> bool:
        """Whether a cell has a value that has to be stored.

        An empty cell of a new task, and a cell as an export would write it, need no change.
        """
        texts = self.texts.get(target)
        if texts is None:
            return False
        if self.task is None:
            return any(has_value(target, text) for text in texts)
        stored, text = self.stored.get(target, ""), next(iter(texts), "")
        if target not in FREE_TEXTS:
            stored, text = stored.strip(), text.strip()
        return len(texts) > 1 or text != stored


def read_entries(table: Table, columns: Columns) -> list[Entry]:
    """Return an entry for each row of the file, without its task and its values."""
    return [Entry(row, columns.texts_of(row), columns.kept_cells_of(row)) for row in table.rows]


def attach_task(entry: Entry, task: Task) -> None:
    """Set the task that a row changes. select_details() must have loaded it."""
    entry.task, entry.stored = task, format_cells(task)


def read_values(entry: Entry, cell_format: CellFormat, refusals: Refusals) -> None:
    """Read and check the values of a row, without those that name other rows or people.

    Each value that a body could not have is added to `refusals`.
    """
    body: dict[str, object] = {}
    for target, texts in entry.texts.items():
        if target in NO_VALUES or target in PEOPLE or not entry.is_sent(target):
            continue
        try:
            body |= _parse(entry, target, texts, cell_format)
        except Problem as problem:
            refusals.add(entry.row, problem, target)
            entry.refused.add(target)
    if entry.kept:
        body["metadata"] = _merge_kept(entry, body.get("metadata"), cell_format.profile.name)
    history = {name: body.pop(name) for name in TIMES_OF_HISTORY if name in body}
    if history.get("completed_at") and "status" not in entry.texts and not entry.task:
        body["status"] = Status.DONE
    if RESOLUTION in entry.texts and "outcome" not in entry.texts:
        body |= _read_resolution(entry, body, cell_format)
    schema: type[BaseModel] = TaskUpdate if entry.task else TaskFields
    entry.values = _validate(entry, schema, body, refusals)
    entry.history = _validate(entry, HistoryFields, history, refusals)
    if "status" in entry.refused:  # of another status they may be right
        entry.values.pop("outcome", None)
        entry.history.pop("completed_at", None)


def _parse(
    entry: Entry, target: str, texts: Sequence[str], cell_format: CellFormat
) -> dict[str, object]:
    """Return the fields of a body that the cells of one target mean. Raises Problem."""
    if entry.task is not None and not any(has_value(target, text) for text in texts):
        return {target: _empty_value(target)}
    return cell_format.parse(target, texts)


def _read_resolution(
    entry: Entry, body: Mapping[str, object], cell_format: CellFormat
) -> dict[str, object]:
    """Return the outcome that the resolution of a done task means; nothing for an open task.

    Other systems keep the resolution of a task that was reopened.
    """
    stored = entry.task.status if entry.task else None
    if body.get("status", stored) != Status.DONE:
        return {}
    outcome = cell_format.translate(RESOLUTION, entry.text(RESOLUTION)).strip()
    return {"outcome": match_choice(outcome, Outcome.choices)} if outcome else {}


def _empty_value(name: str) -> object:
    """Return what an empty cell means for a task that exists: no value, where that is possible."""
    described = TaskFields.model_fields.get(name)
    default = described.get_default(call_default_factory=True) if described else None
    return "" if default else default


def _merge_kept(entry: Entry, metadata: object, name: str) -> object:
    """Return metadata with the kept cells under the name of the profile."""
    stored = entry.task.metadata if entry.task else {}
    present = stored if metadata is None else metadata
    return {**present, name: entry.kept} if isinstance(present, dict) else present


def _validate(
    entry: Entry, schema: type[BaseModel], body: dict[str, object], refusals: Refusals
) -> dict[str, object]:
    """Return the checked values that the body has. Adds what the schema refuses to `refusals`.

    Values that are not refused are returned, so that later stages can check them.
    """
    try:
        checked = schema.model_validate(body)
    except ValidationError as error:
        refusals.add(entry.row, problem_of_validation(error, schema))
        refused = {str(fault["loc"][0]) for fault in error.errors() if fault["loc"]}
        entry.refused |= refused
        return _validate_rest(schema, {n: v for n, v in body.items() if n not in refused})
    return {name: getattr(checked, name) for name in body}


def _validate_rest(schema: type[BaseModel], body: dict[str, object]) -> dict[str, object]:
    """Return the checked values of a row without its refused ones, maybe without a title."""
    try:
        checked = (TaskUpdate if schema is TaskFields else schema).model_validate(body)
    except ValidationError:
        return {}
    return {name: getattr(checked, name) for name in body}


# ---- people and comments ------------------------------------------------------------------------


def list_people(entries: Sequence[Entry], cell_format: CellFormat) -> list[str]:
    """Return the texts of all cells that name people, as `values` translates them."""
    cells = [
        cell_format.translate_person(target, text)
        for entry in entries
        for target in PEOPLE
        if entry.is_sent(target)
        for text in entry.texts[target]
    ]
    authors = [
        cell_format.translate_person(COMMENT, parts[1])
        for entry in entries
        for text in entry.texts.get(COMMENT, ())
        if len(parts := text.split(";", 2)) == COMMENT_PARTS
    ]
    return cells + authors


def read_people(
    entry: Entry,
    cell_format: CellFormat,
    people: People,
    refuse: Callable[[Entry, str, str, Problem], None],
) -> None:
    """Set the people of a row, and its comments. Calls `refuse` for each that is unknown.

    `refuse` takes the entry, the target, the text and the problem. If it does not raise, a person
    is left out, and a comment begins with the name of its author.
    """
    for target in PEOPLE:
        if not entry.is_sent(target):
            continue
        text = cell_format.translate_person(target, entry.text(target))
        values = entry.values if target == "assignee" else entry.history
        try:
            values[target] = people.find(text, target) if text.strip() else None
        except Problem as problem:
            refuse(entry, target, entry.text(target), problem)
    for text in entry.texts.get(COMMENT, ()):
        try:
            comment, name = _read_comment(text, cell_format)
        except Problem as problem:
            refuse(entry, COMMENT, text, problem)
            continue
        entry.comments.append(comment)
        try:
            comment.author = people.find(name, COMMENT) if name else None
        except Problem as problem:
            refuse(entry, COMMENT, name, problem)
            comment.body = f"**{name}**:\n\n{comment.body}"


def _read_comment(text: str, cell_format: CellFormat) -> tuple[NewComment, str]:
    """Return the comment of a cell `time;author;text`, and the name of its author.

    Raises Problem.
    """
    parts = text.split(";", 2)
    if len(parts) < COMMENT_PARTS:
        raise Invalid.field(COMMENT, gettext_noop("Write a comment as time;author;text."))
    time, author, body = parts
    sent = cell_format.parse("created_at", [time]) if time.strip() else {}
    try:
        created_at = HistoryFields.model_validate(sent).created_at
        checked = CommentUpdate.model_validate({"body": body})
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise Invalid.field(
            COMMENT, gettext("The comment is not valid: %(reason)s.") % {"reason": reason}
        ) from None
    name = cell_format.translate_person(COMMENT, author).strip()
    return NewComment(checked.body, created_at), name
