"""The profiles of other systems, and how their files are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from taskflow.http.errors import Invalid
from taskflow.http.parsing import parse_json
from tasks.csv.boards import read_github, read_trello
from tasks.csv.profiles import BLOCKS, COMMENT, DUE, REF, RESOLUTION, Profile
from tasks.csv.reading import decode_file, read_table
from tasks.csv.tables import Table
from tasks.csv.todoist import rearrange_todoist
from tasks.models import Outcome
from tasks.schemas.csv import DateOrder, ImportProfile

TODO, STARTED, DONE = "todo", "in_progress", "done"
STATUS_WORDS = {
    **dict.fromkeys(("to do", "open", "new", "backlog", "reopened", "not started"), TODO),
    "selected for development": TODO,
    **dict.fromkeys(("in progress", "doing", "in review", "code review", "testing"), STARTED),
    **dict.fromkeys(("done", "closed", "resolved", "complete", "completed"), DONE),
}
PRIORITY_WORDS = {
    **dict.fromkeys(("highest", "blocker", "critical", "urgent", "major"), "high"),
    "normal": "medium",
    **dict.fromkeys(("lowest", "minor", "trivial"), "low"),
}
# Every other resolution of a done task means that its work was finished.
CANCELLING_WORDS = (
    "won't do", "won’t do", "won't fix", "won’t fix", "wontfix", "cannot reproduce",
    "can't reproduce", "can’t reproduce", "declined", "rejected", "duplicate", "incomplete",
    "invalid", "not a bug", "obsolete", "abandoned", "withdrawn", "canceled", "cancelled",
    "not_planned", "not planned",
)  # fmt: skip
RESOLUTION_WORDS = {
    **dict.fromkeys(CANCELLING_WORDS, Outcome.CANCELLED.value),
    "*": Outcome.COMPLETED.value,
}

JIRA = Profile(
    "jira",
    columns={
        "summary": "title",
        "description": "description",
        "issue key": "external_ref",
        "issue id": REF,
        "parent": "parent",
        "parent id": "parent",
        "status": "status",
        "status category": "status",
        "priority": "priority",
        "assignee": "assignee",
        "reporter": "created_by",
        "created": "created_at",
        "resolution": RESOLUTION,
        "resolved": "completed_at",
        "due date": DUE,
        "labels": "tags",
        "comment": COMMENT,
        "inward issue link (blocks)": "blocked_by",
        "outward issue link (blocks)": BLOCKS,
    },
    values={
        "status": STATUS_WORDS,
        "priority": PRIORITY_WORDS,
        RESOLUTION: RESOLUTION_WORDS,
    },
    date_order=DateOrder.DMY,
    tag_separator=None,
    replaced_by={"status": "status category", "parent id": "parent"},
)
ASANA = Profile(
    "asana",
    columns={
        "task id": "external_ref",
        "name": "title",
        "notes": "description",
        "assignee": "assignee",
        "assignee email": "assignee",
        "due date": DUE,
        "tags": "tags",
        "created at": "created_at",
        "completed at": "completed_at",
        "parent task": "parent",
        "blocked by (dependencies)": "blocked_by",
        "blocking (dependencies)": BLOCKS,
    },
    tag_separator=",",
    has_titles_as_refs=True,
    replaced_by={"assignee": "assignee email"},
)
TODOIST = Profile(
    "todoist",
    columns={
        "content": "title",
        "description": "description",
        "priority": "priority",
        "author": "created_by",
        "responsible": "assignee",
        "date": DUE,
        "labels": "tags",
        "ref": REF,
        "parent": "parent",
        "comment": COMMENT,
    },
    values={"priority": {"1": "high", "2": "medium", "3": "medium", "4": "low"}},
    rearrange=rearrange_todoist,
)
# The names of the columns of these are made by boards.py.
TRELLO = Profile(
    "trello",
    columns={
        "id": "external_ref",
        "name": "title",
        "desc": "description",
        "list": "status",
        "due": "due_date",
        "created": "created_at",
        "member": "assignee",
        "labels": "tags",
        "parent": "parent",
        "comment": COMMENT,
    },
    values={"status": STATUS_WORDS},
)
GITHUB = Profile(
    "github",
    columns={
        "ref": "external_ref",
        "number": REF,
        "title": "title",
        "body": "description",
        "state": "status",
        "state reason": RESOLUTION,
        "assignee": "assignee",
        "user": "created_by",
        "created": "created_at",
        "closed": "completed_at",
        "labels": "tags",
        "comment": COMMENT,
    },
    values={"status": STATUS_WORDS, RESOLUTION: RESOLUTION_WORDS},
)
PROFILES: Mapping[ImportProfile, Profile] = {
    ImportProfile.JIRA: JIRA,
    ImportProfile.TODOIST: TODOIST,
    ImportProfile.ASANA: ASANA,
    ImportProfile.TRELLO: TRELLO,
    ImportProfile.GITHUB: GITHUB,
}
READERS: Mapping[ImportProfile, Callable[[object], Table]] = {
    ImportProfile.TRELLO: read_trello,
    ImportProfile.GITHUB: read_github,
}


def is_json(profile: ImportProfile) -> bool:
    """Whether the files of a profile are JSON; otherwise they are CSV."""
    return profile in READERS


def read_file(
    profile: ImportProfile, body: bytes, charset: str | None, delimiter: str | None
) -> Table:
    """Return the rows of a file: of JSON for Trello and GitHub, otherwise of CSV.

    Raises Invalid if the file is not what the profile expects.
    """
    reader = READERS.get(profile)
    if reader is None:
        return read_table(decode_file(body, charset), delimiter)
    try:
        return reader(parse_json(body))
    except ValueError as error:
        raise Invalid(f"The file cannot be read as JSON: {error}") from None
