"""What is known about a kind of file: its columns, its words and its dates.

The profile TASKFLOW describes the files that TaskFlow exports. The others describe the exports of
other systems, which `POST /projects/{id}/imports` reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from taskflow.audit.resource_types import type_of_model
from tasks.csv.tables import Table
from tasks.models import Task
from tasks.schemas.csv import DateOrder, Unmapped

# Columns that only an administrator may set, and only of new tasks.
HISTORY = ("created_by", "created_at", "completed_at")
COLUMNS = ("key", *type_of_model(Task).csv_columns, *HISTORY)

# What a column of a foreign file may be besides a field.
REF = "ref"  # another name of the row, by which `parent` and `blocked_by` of other rows refer to it
BLOCKS = "blocks"  # the tasks that the row blocks
COMMENT = "comment"  # a comment, as `time;author;text`
DUE = "due"  # due_on, or due_date if there is a time
RESOLUTION = "resolution"  # the outcome, in the words of another system; also kept
KEEP = "keep"  # kept in metadata, under the names of the profile and the column
SPECIAL = (REF, BLOCKS, COMMENT, DUE, RESOLUTION, KEEP)
REPEATABLE = frozenset({"tags", "blocked_by", REF, BLOCKS, COMMENT, KEEP})


@dataclass(frozen=True)
class Profile:
    """The description of a kind of file.

    `columns`: the field of each column, by the column's name in lower case. `values`: the values
    of cells, by field and by the text of the cell in lower case. `date_order`: that of dates whose
    order the file does not show. `tag_separator`: what separates tags in a cell; None if each cell
    has one tag. `unmapped`: what happens to other columns. `has_own_keys`: whether `parent` and
    `blocked_by` may name tasks by TaskFlow's keys. `has_titles_as_refs`: whether they may name rows
    by title. `is_quoted`: whether a leading ' protects cells from being run as a formula.
    `replaced_by`: columns that are no field if the file has the other column, which says the same
    better. `rearrange` turns the table of the file into one with a row for each task.
    """

    name: str
    columns: Mapping[str, str]
    values: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    date_order: DateOrder | None = None
    tag_separator: str | None = ";"
    unmapped: Unmapped = Unmapped.KEEP
    has_own_keys: bool = False
    has_titles_as_refs: bool = False
    is_quoted: bool = False
    replaced_by: Mapping[str, str] = field(default_factory=dict)
    rearrange: Callable[[Table], Table] | None = None


TASKFLOW = Profile(
    "csv",
    columns={name.replace("_", " "): name for name in COLUMNS},
    unmapped=Unmapped.REFUSE,
    has_own_keys=True,
    is_quoted=True,
)
