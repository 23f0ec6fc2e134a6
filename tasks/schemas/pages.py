"""The schemas of pages."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import MISSING, Field, StrictBool

from accounts.schemas.users import UserRef
from taskflow.http.fields import RowListParams
from taskflow.http.filtering import Filters, list_filter_field, with_exclusions
from taskflow.http.paging import ListResponse
from taskflow.http.references import OwnerReference, ProjectReference, WithReferences
from taskflow.http.schema import (
    CreatedAt,
    DayOrTimestamp,
    ExcludedWords,
    FilterWord,
    Id,
    Markdown,
    OneLine,
    Out,
    RowId,
    SearchWords,
    Timestamp,
    UpdatedAt,
    Version,
    example,
)

PageTitle = Annotated[
    str,
    Field(min_length=1, max_length=255, description="One line.", examples=["Release plan"]),
    OneLine,
]
PageBody = Annotated[Markdown, Field(description="The text in Markdown, stored as written.")]
OwnerId = Annotated[Id, Field(description="The id of the owner, in place of `owner`.")]


class PageResponse(Out):
    """A page of a project."""

    id: RowId
    project_id: int = Field(description="The id of its project.")
    title: str = Field(description="One line.")
    body: str = Field(description="The text in Markdown.")
    is_published: bool = Field(description="Whether all members of the project see it.")
    published_at: datetime | None = Field(description="When it was published; null for a draft.")
    owner_id: int = Field(description="The id of the owner.")
    owner: UserRef = Field(description="The user who may change it, also as a draft.")
    version: Version
    created_at: CreatedAt
    updated_at: UpdatedAt


class PageCreate(WithReferences):
    """A new page. Send `project`, or `project_id`. By default you are its owner."""

    model_config = example(project="WEB", title="Release plan", body="1. Freeze\n2. Test")

    required_references = ("project",)

    project: ProjectReference | MISSING = MISSING
    project_id: (
        Annotated[Id, Field(description="The id of the project, in place of `project`.")] | MISSING
    ) = MISSING
    title: PageTitle
    body: PageBody = ""
    is_published: StrictBool = Field(False, description="False: the page is a draft.")
    owner: OwnerReference | None = None
    owner_id: OwnerId | None = None


class PageUpdate(WithReferences):
    """The fields to change. Fields that are absent stay as they are."""

    model_config = example(title="How we release now")

    title: PageTitle | MISSING = MISSING
    body: PageBody | MISSING = MISSING
    owner: OwnerReference | MISSING = MISSING
    owner_id: OwnerId | MISSING = MISSING


@with_exclusions
class PageFilters(RowListParams, Filters):
    """Rows must satisfy all filters. If a filter has several values, one of them is enough. A
    filter whose name ends in `_not` excludes rows.
    """

    q: SearchWords | MISSING = MISSING
    q_not: ExcludedWords | MISSING = MISSING
    project: list[FilterWord] | MISSING = list_filter_field("Id or key.")
    owner: list[FilterWord] | MISSING = list_filter_field("`me`, an id or `@handle`.")
    is_published: StrictBool | MISSING = Field(
        MISSING, description="`true`: published pages; `false`: drafts."
    )
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
    """A page of a list of pages."""
