"""The schemas of the trash."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import MISSING, Field

from taskflow.http.filtering import Filters, list_filter_field, with_exclusions
from taskflow.http.paging import ListResponse, PageParams
from taskflow.http.schema import Out, RowId
from tasks.models.registry import TRASHABLE_TYPES
from tasks.models.trash import TRASH_RETENTION


class TrashKind(StrEnum):
    """The names of the resource types that have a trash."""

    _ignore_ = "members resource_type"
    members = vars()
    for resource_type in TRASHABLE_TYPES:
        members[resource_type.name.upper()] = resource_type.name


class TrashItem(Out):
    """A row in the trash."""

    kind: TrashKind
    id: RowId
    key: str | None = Field(description="The key of a project or task.")
    title: str = Field(description="The title or name; for a comment, its first 60 characters.")
    project_id: int = Field(description="The id of its project; for a project, its own.")
    deleted_at: datetime = Field(description="When it was deleted, in UTC.")
    purge_after: datetime = Field(description="After this time the row may be deleted permanently.")


@with_exclusions
class TrashFilters(PageParams, Filters):
    kind: list[TrashKind] | MISSING = list_filter_field("One of these resource types.")


class DeletedRows(Out):
    """How many rows went to the trash together, the deleted row included."""

    projects: int = Field(0, description="The number of projects.")
    tasks: int = Field(0, description="The number of tasks, subtasks included.")
    comments: int = Field(0, description="The number of comments.")
    pages: int = Field(0, description="The number of pages.")


class Deletion(Out):
    """What a deletion has moved to the trash."""

    deleted: DeletedRows
    restorable_until: datetime = Field(
        description="Until this time the rows can be restored from the trash."
    )


class TrashListResponse(ListResponse[TrashItem]):
    """A page of the list of rows in the trash."""


def trash_item(kind: str, row: Any) -> dict[str, object]:
    """Return a TrashItem for a row of this resource type."""
    return {
        "kind": kind,
        "id": row.pk,
        "key": getattr(row, "key", None),
        "title": getattr(row, "name", str(row)),
        "project_id": getattr(row, row.project_field),
        "deleted_at": row.deleted_at,
        "purge_after": row.deleted_at + TRASH_RETENTION,
    }
