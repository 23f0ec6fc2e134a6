"""The schemas of comments."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import MISSING, AfterValidator, Field

from accounts.schemas import UserRef
from taskflow.http.filtering import Filters, list_filter_field, with_exclusions
from taskflow.http.paging import ListResponse, PageParams
from taskflow.http.schema import (
    DayOrTimestamp,
    ExcludedWords,
    FilterWord,
    Id,
    In,
    Markdown,
    Out,
    SearchWords,
    Timestamp,
    Version,
)
from tasks.models import Comment


def _check_not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must contain more than white space")
    return text


Body = Annotated[
    Markdown,
    AfterValidator(_check_not_blank),
    Field(description="Markdown, stored as written.", examples=["Done in **v2**."]),
]


class CommentResponse(Out):
    id: int
    task_id: int
    task_key: str
    author: UserRef | None = Field(description="Null if an operator wrote it.")
    body: str
    edited_at: datetime | None = Field(description="When the body was last changed; null if never.")
    version: Version
    created_at: datetime
    updated_at: datetime

    @staticmethod
    def resolve_task_key(comment: Comment) -> str:
        return str(comment.task.key)


class CommentCreate(In):
    task_id: Id
    body: Body


class CommentUpdate(In):
    body: Body


@with_exclusions
class CommentFilters(PageParams, Filters):
    """Rows must satisfy all filters. If a filter has several values, one of them is enough. A
    filter whose name ends in `_not` excludes rows.
    """

    q: SearchWords | MISSING = MISSING
    q_not: ExcludedWords | MISSING = MISSING
    task: list[FilterWord] | MISSING = list_filter_field("Id or key (WEB-12).")
    author: list[FilterWord] | MISSING = list_filter_field("`me`, an id or `@handle`.")
    created_before: DayOrTimestamp | MISSING = MISSING
    created_after: DayOrTimestamp | MISSING = MISSING
    updated_before: DayOrTimestamp | MISSING = MISSING
    updated_after: DayOrTimestamp | MISSING = MISSING
    updated_since: Timestamp | MISSING = Field(MISSING, description="At this time or later.")


class CommentListResponse(ListResponse[CommentResponse]):
    pass
