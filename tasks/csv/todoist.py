"""The CSV template of a Todoist project: tasks, notes and sections in one list."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from taskflow.db.text import fold
from tasks.csv.tables import Row, Table
from tasks.csv.values import join_tags

LABEL = re.compile(r"(?:^|\s)@([\w-]+)")
USER_ID = re.compile(r"\s*\(\d+\)$")  # behind a name, as in “Ada (1234)”
PEOPLE = ("author", "responsible")
ADDED = ("ref", "parent", "labels", "section")


@dataclass
class _Task:
    row: Row
    cells: dict[str, str]
    comments: list[str] = field(default_factory=list)


def rearrange_todoist(table: Table) -> Table:
    """Return a table with a row for each task.

    Notes become comments of the task above them. The parent of a task is the last task above it
    whose INDENT is smaller by one. Labels in a title, as in @home, become tags.
    """
    names = [fold(header) for header in table.headers]
    tasks: list[_Task] = []
    parents: dict[int, str] = {}  # the name of the last task, by its indent
    section = ""
    for row in table.rows:
        cells = dict(zip(names, row.cells, strict=False))
        kind = fold(cells.get("type", "")).strip()
        if kind == "section":
            section = cells.get("content", "").strip()
            parents = {}
        elif kind == "note" and tasks:
            tasks[-1].comments.append(_format_comment(cells))
        elif kind == "task":
            indent = int(cells["indent"]) if cells.get("indent", "").strip().isdecimal() else 1
            ref = f"row {row.number}"
            added = {"ref": ref, "parent": parents.get(indent - 1, ""), "section": section}
            parents[indent] = ref
            tasks.append(_Task(row, _clean(cells) | added))
    return _build_table(table, names, tasks)


def _format_comment(cells: dict[str, str]) -> str:
    """Return a note as `time;author;text`."""
    author = USER_ID.sub("", cells.get("author", "").strip())
    return f"{cells.get('date', '').strip()};{author};{cells.get('content', '')}"


def _clean(cells: dict[str, str]) -> dict[str, str]:
    """Return the cells of a task without ids behind names, and with its labels as tags."""
    title = cells.get("content", "")
    people = {n: USER_ID.sub("", cells[n].strip()) for n in PEOPLE if n in cells}
    content = {"content": LABEL.sub("", title).strip(), "labels": join_tags(LABEL.findall(title))}
    return cells | people | content


def _build_table(table: Table, names: Sequence[str], tasks: Sequence[_Task]) -> Table:
    hidden = {"type", "indent"}
    columns = [(n, h) for n, h in zip(names, table.headers, strict=True) if n not in hidden]
    width = max((len(task.comments) for task in tasks), default=0)
    headers = [header for _, header in columns] + [*ADDED] + ["comment"] * width
    keys = [name for name, _ in columns] + [*ADDED]
    rows = [
        Row(
            task.row.number,
            task.row.line,
            [task.cells.get(key, "") for key in keys]
            + task.comments
            + [""] * (width - len(task.comments)),
        )
        for task in tasks
    ]
    return Table(headers, rows)
