"""What the trash looks like on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import MISSING, Field

from taskflow.http.filtering import Filters, list_filter_field, with_exclusions
from taskflow.http.paging import Page, PageParams
from taskflow.http.schema import Out
from tasks.models import Comment, Project, Task
from tasks.models.trash import KEPT, Trashable
from tasks.queries.trash import TrashKind


class TrashItem(Out):
    kind: TrashKind
    id: int
    key: str | None = Field(description="Of a project or task.")
    title: str = Field(description="Of a comment, how it begins.")
    project_id: int
    deleted_at: datetime
    purge_after: datetime = Field(description="From then on it may be gone for good.")


@with_exclusions
class TrashFilters(PageParams, Filters):
    kind: list[TrashKind] | MISSING = list_filter_field()


class TrashPage(Page[TrashItem]):
    pass


def trash_item(kind: str, row: Trashable) -> dict[str, Any]:
    assert row.deleted_at
    return {
        "kind": kind,
        "id": row.pk,
        "key": row.key if isinstance(row, Project | Task) else None,
        "title": row.name if isinstance(row, Project) else str(row),
        "project_id": row.pk if isinstance(row, Project) else _project_id(row),
        "deleted_at": row.deleted_at,
        "purge_after": row.deleted_at + KEPT,
    }


def _project_id(row: Any) -> int:
    project_id: int = row.task.project_id if isinstance(row, Comment) else row.project_id
    return project_id
