"""The schemas of comments."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from django.utils.translation import gettext_noop
from pydantic import MISSING, AfterValidator, Field

from accounts.schemas.users import UserRef
from taskflow.http.fields import RowListParams
from taskflow.http.filtering import Filters, list_filter_field, with_exclusions
from taskflow.http.paging import ListResponse
from taskflow.http.references import TaskReference, WithReferences
from taskflow.http.schema import (
    CreatedAt,
    DayOrTimestamp,
    ExcludedWords,
    FilterWord,
    Id,
    In,
    Markdown,
    Out,
    RowId,
    SearchWords,
    Timestamp,
    UpdatedAt,
    Version,
    example,
)
from tasks.models import Comment


def _check_not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError(gettext_noop("must contain more than white space"))
    return text


Body = Annotated[
    Markdown,
    AfterValidator(_check_not_blank),
    Field(description="The text in Markdown, stored as written.", examples=["Done in **v2**."]),
]


class CommentResponse(Out):
    """A comment on a task."""

    id: RowId
    task_id: int = Field(description="The id of its task.")
    task_key: str = Field(description="The key of its task, such as WEB-12.")
    author_id: int | None = Field(description="The id of the author, or null.")
    author: UserRef | None = Field(description="Null if an operator wrote it.")
    body: str = Field(description="The text in Markdown.")
    edited_at: datetime | None = Field(description="When the body was last changed; null if never.")
    version: Version
    created_at: CreatedAt
    updated_at: UpdatedAt

    @staticmethod
    def resolve_task_key(comment: Comment) -> str:
        return str(comment.task.key)


MAX_RECENT_COMMENTS = 50


class RecentComments(Out):
    """The latest comments on a task."""

    data: list[CommentResponse] = Field(
        description=f"The latest {MAX_RECENT_COMMENTS}, in the order in which they were written."
    )
    has_more: bool = Field(description="Whether there are earlier comments.")


class CommentCreate(WithReferences):
    """A new comment. Send `task`, or `task_id`."""

    model_config = example(task="WEB-1", body="Done in **v2**.")

    required_references = ("task",)

    task: TaskReference | MISSING = MISSING
    task_id: (
        Annotated[Id, Field(description="The id of the task, in place of `task`.")] | MISSING
    ) = MISSING
    body: Body


class CommentUpdate(In):
    """The new text of a comment."""

    model_config = example(body="Done in **v3**.")

    body: Body


@with_exclusions
class CommentFilters(RowListParams, Filters):
    """Rows must satisfy all filters. If a filter has several values, one of them is enough. A
    filter whose name ends in `_not` excludes rows.
    """

    q: SearchWords | MISSING = MISSING
    q_not: ExcludedWords | MISSING = MISSING
    task: list[FilterWord] | MISSING = list_filter_field("Id or key (WEB-12).")
    author: list[FilterWord] | MISSING = list_filter_field(
        "`me`, an id or `@handle`; `none`: written by an operator."
    )
    created_before: DayOrTimestamp | MISSING = MISSING
    created_after: DayOrTimestamp | MISSING = MISSING
    updated_before: DayOrTimestamp | MISSING = MISSING
    updated_after: DayOrTimestamp | MISSING = MISSING
    updated_since: Timestamp | MISSING = Field(MISSING, description="At this time or later.")


class CommentListResponse(ListResponse[CommentResponse]):
    """A page of a list of comments."""
