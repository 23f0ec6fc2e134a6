"""The options and the results of CSV files and of imports."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError
from pydantic import MISSING, AfterValidator, BeforeValidator, Field, StrictBool, WithJsonSchema

from accounts.models import check_time_zone
from taskflow.http.parsing import parse_json
from taskflow.http.schema import In, Out, Timestamp

MAX_NAMES = 1000  # columns that one parameter may name


class Delimiter(StrEnum):
    """What separates the cells of a line."""

    COMMA = "comma"
    SEMICOLON = "semicolon"
    TAB = "tab"

    @property
    def character(self) -> str:
        return {"comma": ",", "semicolon": ";", "tab": "\t"}[self.value]


class Charset(StrEnum):
    """The charset of an exported file."""

    UTF_8 = "utf-8"
    UTF_16 = "utf-16"
    WINDOWS_1252 = "windows-1252"


class DateOrder(StrEnum):
    """The order of the numbers of a date such as 03/04/2026."""

    DMY = "dmy"
    MDY = "mdy"
    YMD = "ymd"


class OnExisting(StrEnum):
    """What happens to a row whose task is in the project already."""

    REFUSE = "refuse"
    UPDATE = "update"
    SKIP = "skip"


class Unmapped(StrEnum):
    """What happens to a column that is no field, and that `map` and `ignore` do not name."""

    REFUSE = "refuse"
    KEEP = "keep"
    IGNORE = "ignore"


class UnknownReference(StrEnum):
    """What happens to a cell that names a person or a task that is not visible."""

    REFUSE = "refuse"
    LEAVE_OUT = "leave_out"


class ImportProfile(StrEnum):
    """The system that has written a file."""

    JIRA = "jira"
    TODOIST = "todoist"
    ASANA = "asana"
    TRELLO = "trello"
    GITHUB = "github"


def _parse_object(value: object) -> object:
    """Return the value of a parameter that is written as JSON."""
    if not isinstance(value, str):
        return value
    try:
        return parse_json(value)
    except ValueError as error:
        raise ValueError(f"must be a JSON object: {error}") from None


def _check_time_zone(name: str) -> str:
    try:
        check_time_zone(name)
    except ValidationError as error:
        raise ValueError(error.messages[0]) from None
    return name


FieldByColumn = Annotated[
    dict[str, str],
    BeforeValidator(_parse_object),
    Field(
        max_length=MAX_NAMES,
        description="The fields of columns, as a JSON object:"
        ' `{"Summary": "title", "Due": "due_on"}`. Besides the fields of the export: `ref` (another'
        " name of the row, for `parent` and `blocked_by` of other rows), `blocks`, `comment`"
        " (`time;author;text`), `due` (a day or a time) and `keep` (kept in metadata).",
    ),
    WithJsonSchema({"type": "string", "contentMediaType": "application/json"}),
]
ValuesByField = Annotated[
    dict[str, dict[str, str | None]],
    BeforeValidator(_parse_object),
    Field(
        max_length=100,
        description="The values of cells by field, as a JSON object:"
        ' `{"status": {"In Review": "in_progress", "*": "todo"}}`. `*` is every other text. The'
        " values of `people` apply to all columns of people.",
    ),
    WithJsonSchema({"type": "string", "contentMediaType": "application/json"}),
]


class CsvFormat(In):
    """How an exported file is written."""

    charset: Charset = Field(Charset.UTF_8, description="UTF-16 has a byte order mark.")
    bom: StrictBool = Field(
        False, description="Begin UTF-8 with a byte order mark. Some spreadsheets need it."
    )
    delimiter: Delimiter = Field(Delimiter.COMMA, description="What separates the cells.")


class ImportOptions(In):
    """How a file is read, and what its rows do."""

    on_existing: OnExisting = Field(
        OnExisting.REFUSE,
        description="What a row does whose `key` or `external_ref` is that of a task of the"
        " project: `refuse` refuses the file and names all such rows, `update` changes the task,"
        " `skip` leaves the row out.",
    )
    delimiter: Delimiter | MISSING = Field(
        MISSING, description="Detected in the first line when absent."
    )
    date_order: DateOrder | MISSING = Field(
        MISSING,
        description="The order of dates such as 03/04/2026. Such dates are refused when absent.",
    )
    time_zone: Annotated[str, AfterValidator(_check_time_zone)] | MISSING = Field(
        MISSING,
        max_length=63,
        examples=["Europe/Berlin"],
        description="The time zone of times without an offset. That of the tenant when absent.",
    )
    map: FieldByColumn = Field(default_factory=dict)
    values: ValuesByField = Field(default_factory=dict)
    ignore: list[str] = Field([], max_length=MAX_NAMES, description="Columns to leave out.")
    unmapped: Unmapped | MISSING = Field(
        MISSING,
        description="What happens to other columns: `refuse` names them all, `keep` keeps their"
        " cells in metadata, `ignore` leaves them out. When absent: `keep` with a profile,"
        " otherwise `refuse`.",
    )
    unknown: UnknownReference = Field(
        UnknownReference.REFUSE,
        description="What happens to cells that name a person or task which is not visible."
        " `left_out` of the response lists those that are left out.",
    )
    keep_numbers: StrictBool = Field(
        False,
        description="Give new tasks the numbers of their keys: WEB-12 becomes COPY-12 in the"
        " project COPY. For administrators. The project must not have used the numbers yet.",
    )
    force: StrictBool = Field(
        False,
        description="Complete tasks even if subtasks or blockers are open, and create open subtasks"
        " of done tasks.",
    )

    def find_zone(self, default: str) -> ZoneInfo:
        """Return the time zone of times without an offset."""
        return ZoneInfo(self.sent_fields().get("time_zone", default))


class ProfileOptions(ImportOptions):
    """How a file of another system is read."""

    profile: ImportProfile = Field(description="The system that has written the file.")


class HistoryFields(In):
    """What an import by an administrator keeps besides the fields of a new task."""

    created_at: Timestamp | None = None
    completed_at: Timestamp | None = None


class LeftOutCell(Out):
    """A cell that an import did not apply."""

    row: int = Field(description="As a spreadsheet numbers it: the names of the columns are row 1.")
    column: str = Field(description="The name of the column.")
    value: str = Field(description="The text of the cell, or the part that was not applied.")
    reason: str = Field(description="Why it was not applied.")


class ImportedTasks(Out):
    """What has become of the rows of a file."""

    created: int = Field(description="Tasks that were created.")
    updated: int = Field(description="Tasks that were changed.")
    unchanged: int = Field(description="Tasks that had all values of their rows already.")
    skipped: int = Field(description="Rows that were left out because their task exists.")
    comments: int = Field(description="Comments that were created.")
    keys: list[str] = Field(description="The keys of the created tasks, in the order of the rows.")
    left_out_count: int = Field(description="All cells that were not applied.")
    left_out: list[LeftOutCell] = Field(description="The first 100 cells that were not applied.")


class ImportResult(ImportedTasks):
    """What has become of the rows of a file of another system."""

    unmapped_columns: list[str] = Field(
        description="Columns that are no field. `unmapped` says what happened to them."
    )
    sample: list[dict[str, str]] = Field(
        description="The first 5 tasks, as the cells of an export."
    )
