"""Which field each column of a file is: what the page proposes, and what was chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from django.utils.translation import gettext_lazy as _

from tasks.csv.columns import TARGETS, fold_header
from tasks.csv.profiles import COMMENT, REPEATABLE, RESOLUTION, TASKFLOW
from tasks.csv.tables import Table

COLUMN = "column_"  # the beginning of the names of the form's fields; the index follows
MAX_COLUMNS = 200  # that the page shows
CHOICES = [target for target in TARGETS if target not in (RESOLUTION, COMMENT)]
LABELS = {  # of the fields in the words of screens
    "key": _("Key"),
    "title": _("Title"),
    "description": _("Description"),
    "status": _("Status"),
    "outcome": _("Outcome"),
    "priority": _("Priority"),
    "assignee": _("Assignee"),
    "due_on": _("Due day"),
    "due_date": _("Due time"),
    "due": _("Due day or time"),
    "tags": _("Tags"),
    "parent": _("Parent task"),
    "blocked_by": _("Blocked by"),
    "blocks": _("Blocks"),
    "external_ref": _("External id"),
    "links": _("Links"),
    "metadata": _("Metadata"),
    "created_by": _("Created by"),
    "created_at": _("Created at"),
    "completed_at": _("Completed at"),
    "ref": _("Name of the row for other rows"),
    "keep": _("Keep in the metadata"),
}
# Usual names of columns in other files, in the form in which names are compared.
OTHER_NAMES = {
    "summary": "title", "name": "title", "task": "title", "subject": "title", "task name": "title",
    "assigned to": "assignee", "owner": "assignee", "responsible": "assignee",
    "due": "due", "due date": "due", "deadline": "due",
    "labels": "tags", "label": "tags", "tag": "tags", "category": "tags",
    "notes": "description", "details": "description", "state": "status", "url": "links",
}  # fmt: skip


class ShownColumn(NamedTuple):
    """A column of the file as the page shows it."""

    name: str  # of the form's field
    header: str
    sample: str  # the first text of the column
    target: str  # the chosen field; empty if the column is left out


def describe_columns(table: Table, chosen: Mapping[str, str]) -> list[ShownColumn]:
    """Return the columns of a file with what was chosen, or what their names say if nothing was."""
    taken: set[str] = set()
    columns = []
    for index, header in enumerate(table.headers[:MAX_COLUMNS]):
        if not header:
            continue
        name = f"{COLUMN}{index}"
        target = chosen[name] if name in chosen else _propose(header, taken)
        target = target if target in CHOICES else ""
        taken.add(target)
        columns.append(ShownColumn(name, header, _find_sample(table, index), target))
    return columns


def _propose(header: str, taken: set[str]) -> str:
    """Return the field of a column by its name, or an empty text. Most fields are one column."""
    name = fold_header(header)
    target = TASKFLOW.columns.get(name) or OTHER_NAMES.get(name, "")
    return "" if target in taken and target not in REPEATABLE else target


def _find_sample(table: Table, index: int) -> str:
    texts = (row.cells[index].strip() for row in table.rows if index < len(row.cells))
    return next(filter(None, texts), "")


def build_map(columns: Sequence[ShownColumn]) -> dict[str, str]:
    """Return the parameter `map` of an import."""
    return {column.header: column.target for column in columns if column.target}


def list_ignored(columns: Sequence[ShownColumn]) -> list[str]:
    """Return the parameter `ignore` of an import."""
    return [column.header for column in columns if not column.target]
