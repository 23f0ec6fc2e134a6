"""The schemas of pages."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import MISSING, Field

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
    is_published: bool = Field(False, description="False: the page is a draft.")
    owner_id: Id | None = Field(None, description="Default: you.")


class PageUpdate(In):
    title: PageTitle | MISSING = MISSING
    body: Markdown | MISSING = MISSING
    owner_id: Id | MISSING = MISSING


@with_exclusions
class PageFilters(PageParams, Filters):
    """Rows must satisfy all filters. If a filter has several values, one of them is enough. A
    filter whose name ends in `_not` excludes rows.
    """

    q: SearchWords | MISSING = MISSING
    q_not: ExcludedWords | MISSING = MISSING
    project: list[FilterWord] | MISSING = list_filter_field("Id or key.")
    owner: list[FilterWord] | MISSING = list_filter_field("`me`, an id or `@handle`.")
    is_published: bool | MISSING = MISSING
    created_before: DayOrTimestamp | MISSING = MISSING
    created_after: DayOrTimestamp | MISSING = MISSING
    updated_before: DayOrTimestamp | MISSING = MISSING
    updated_after: DayOrTimestamp | MISSING = MISSING
    updated_since: Timestamp | MISSING = Field(MISSING, description="At this time or later.")
    sort: str | None = Field(
        None,
        min_length=1,
        max_length=100,
        description="`title`, `created_at`, `updated_at` or `published_at`; a leading `-` sorts"
        " descending. Default: newest first.",
    )


class PageListResponse(ListResponse[PageResponse]):
    pass
