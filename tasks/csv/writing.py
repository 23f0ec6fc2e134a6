"""Write tasks as CSV. What is written can be imported again with the same result."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any, TextIO

from django.db.models import BooleanField, ExpressionWrapper, Prefetch, Q, QuerySet
from django.http import HttpResponse

from accounts.models import User
from taskflow.audit.actor import Actor
from taskflow.http.errors import Invalid
from taskflow.http.files import WrittenFile, respond_with_text_file
from tasks.csv.profiles import COLUMNS
from tasks.csv.values import format_links, format_metadata, join_tags, protect
from tasks.models import Project, Tag, Task
from tasks.schemas.csv import Charset, CsvFormat

CHUNK = 1000  # tasks that one query reads


def csv_response(
    actor: Actor, rows: QuerySet[Task], name: str, file_format: CsvFormat
) -> HttpResponse | WrittenFile:
    """Respond with the tasks as a CSV file, ordered by id. Needs constant memory.

    Raises Invalid if the charset does not have all characters of the tasks.
    """
    charset = file_format.charset
    has_mark = charset == Charset.UTF_8 and file_format.bom
    try:
        return respond_with_text_file(
            lambda file: write_csv(file, actor, rows, file_format.delimiter.character),
            codec="utf-8-sig" if has_mark else charset,
            content_type=f"text/csv; charset={charset}",
            name=name,
        )
    except UnicodeEncodeError as error:
        raise Invalid.parameter(
            "charset",
            f"The tasks contain “{error.object[error.start]}”, which {charset} does not have."
            " Use utf-8.",
        ) from None


def write_csv(file: TextIO, actor: Actor, rows: QuerySet[Task], delimiter: str = ",") -> None:
    """Write the tasks as CSV, ordered by id. Reads CHUNK tasks at a time."""
    writer = csv.writer(file, delimiter=delimiter)
    writer.writerow(COLUMNS)
    for task in _read_in_chunks(actor, rows):
        writer.writerow([protect(text) for text in format_cells(task).values()])


def select_details(actor: Actor, rows: QuerySet[Task]) -> QuerySet[Task]:
    """Load what format_cells() reads. At most four queries, however many rows there are.

    Parents are not joined: before PostgreSQL has statistics of a new table, the join reads all
    tasks of the tenant for each row.
    """
    visible = Q(project__in=Project.objects.visible_to(actor.viewer))
    blockers = Task.objects.outside_trash().select_related("project")
    blockers = blockers.annotate(is_visible=ExpressionWrapper(visible, output_field=BooleanField()))
    return rows.select_related("project", "assignee", "created_by").prefetch_related(  # type: ignore[type-var]
        Prefetch("parent", Task.everything.all()),
        Prefetch("tags", Tag.objects.order_by("name", "id")),
        Prefetch("blocked_by", blockers),
    )


def format_cells(task: Task) -> dict[str, str]:
    """Return the text of each column of a task that select_details() has loaded."""
    return {column: _format_value(task, column) for column in COLUMNS}


def _read_in_chunks(actor: Actor, rows: QuerySet[Task]) -> Iterator[Task]:
    """Yield the tasks ordered by id, CHUNK per query."""
    details = select_details(actor, rows)
    last_id, is_last_chunk = 0, False
    while not is_last_chunk:
        chunk: list[Task] = list(details.filter(pk__gt=last_id).order_by("pk")[:CHUNK])
        yield from chunk
        is_last_chunk = len(chunk) < CHUNK
        last_id = 0 if is_last_chunk else chunk[-1].pk


def _format_value(task: Task, column: str) -> str:
    """Return a value as an import accepts it; an empty text for None."""
    value: Any = getattr(task, column)
    if column == "tags":
        return join_tags(tag.name for tag in value.all())
    if column == "blocked_by":
        return "; ".join(_name_blockers(value.all()))
    if column == "links":
        return format_links(value)
    if isinstance(value, User):
        return value.handle
    if isinstance(value, Task):  # the parent, which is in the same project
        return f"{task.project.key}-{value.number}"
    if isinstance(value, dict):
        return format_metadata(value)
    if isinstance(value, date):  # or a datetime
        return value.isoformat()
    return "" if value is None else str(value)


def _name_blockers(blockers: Iterable[Any]) -> Iterator[str]:
    """Yield the keys of the blockers; the id of one that the actor cannot see."""
    for blocker in blockers:
        yield blocker.key if blocker.is_visible else str(blocker.pk)
