"""What comments look like on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, Field

from accounts.schemas import UserRef
from taskflow.paging import Page, PageParams
from taskflow.schema import Id, In, Instant, Markdown, Moment, Out, Version, Word, Words
from tasks.models import Comment


def _says_something(text: str) -> str:
    if not text.strip():
        raise ValueError("must say something")
    return text


Body = Annotated[
    Markdown,
    AfterValidator(_says_something),
    Field(description="Markdown, kept as written.", examples=["Done in **v2**."]),
]


class CommentResponse(Out):
    id: int
    task_id: int
    task_key: str
    author: UserRef | None = Field(description="Null when an operator wrote it.")
    body: str
    edited_at: datetime | None = Field(description="When its text last changed.")
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


class CommentFilters(PageParams):
    """As TaskWhere: repeated values are joined by “or”, `-` before one means “not”."""

    q: Words | None = None
    task: list[Word] | None = Field(None, description="Id or key (WEB-12).")
    author: list[Word] | None = Field(None, description="`me`, an id or `@handle`.")
    created_before: Moment | None = None
    created_after: Moment | None = None
    updated_before: Moment | None = None
    updated_after: Moment | None = None
    updated_since: Instant | None = Field(None, description="At this instant or after it.")


class CommentPage(Page[CommentResponse]):
    pass
