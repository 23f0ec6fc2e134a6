"""What pages look like on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import MISSING, Field

from accounts.schemas import UserRef
from taskflow.paging import Page, PageParams
from taskflow.schema import Id, In, Instant, Markdown, Moment, Out, Version, Word, Words

PageTitle = Annotated[str, Field(min_length=1, max_length=255)]


class PageResponse(Out):
    id: int
    project_id: int
    title: str
    body: str
    is_published: bool
    published_at: datetime | None
    owner: UserRef
    version: Version
    created_at: datetime
    updated_at: datetime


class PageCreate(In):
    project_id: Id
    title: PageTitle
    body: Markdown = ""
    is_published: bool = Field(False, description="False: a draft.")
    owner_id: Id | None = Field(None, description="You, when absent.")


class PageUpdate(In):
    title: PageTitle | MISSING = MISSING
    body: Markdown | MISSING = MISSING
    owner_id: Id | MISSING = MISSING


class PageFilters(PageParams):
    """As TaskWhere: repeated values are joined by “or”, `-` before one means “not”."""

    q: Words | None = None
    project: list[Word] | None = Field(None, description="Id or key.")
    owner: list[Word] | None = Field(None, description="`me`, an id or `@handle`.")
    is_published: bool | None = None
    created_before: Moment | None = None
    created_after: Moment | None = None
    updated_before: Moment | None = None
    updated_after: Moment | None = None
    updated_since: Instant | None = Field(None, description="At this instant or after it.")
    sort: str | None = Field(
        None,
        min_length=1,
        max_length=100,
        description="`title`, `created_at`, `updated_at`, `published_at`; `-` descends.",
    )


class PagePage(Page[PageResponse]):
    pass
