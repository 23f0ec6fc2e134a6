"""The schemas of comments."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import MISSING, AfterValidator, Field

from accounts.schemas import UserRef
from taskflow.http.filtering import Filters, one_or_more, with_exclusions
from taskflow.http.paging import Page, PageParams
from taskflow.http.schema import (
    ExcludedWords,
    Id,
    In,
    Instant,
    Markdown,
    Moment,
    Out,
    Version,
    Word,
    Words,
)
from tasks.models import Comment


def _says_something(text: str) -> str:
    if not text.strip():
        raise ValueError("must say something")
    return text


Body = Annotated[
    Markdown,
    AfterValidator(_says_something),
    Field(description="Markdown, stored as written.", examples=["Done in **v2**."]),
]


class CommentResponse(Out):
    id: int
    task_id: int
    task_key: str
    author: UserRef | None = Field(description="Null if an operator wrote it.")
    body: str
    edited_at: datetime | None = Field(description="The time when its text was last changed.")
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
    """Different names are joined by “and”, values of one name by “or”. `_not` at the end
    excludes.
    """

    q: Words | MISSING = MISSING
    q_not: ExcludedWords | MISSING = MISSING
    task: list[Word] | MISSING = one_or_more("Id or key (WEB-12).")
    author: list[Word] | MISSING = one_or_more("`me`, an id or `@handle`.")
    created_before: Moment | MISSING = MISSING
    created_after: Moment | MISSING = MISSING
    updated_before: Moment | MISSING = MISSING
    updated_after: Moment | MISSING = MISSING
    updated_since: Instant | MISSING = Field(MISSING, description="At this time or later.")


class CommentPage(Page[CommentResponse]):
    pass
