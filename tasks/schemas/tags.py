"""The schemas of tags."""

from __future__ import annotations

from typing import Annotated

from django.utils.translation import gettext_noop
from pydantic import MISSING, Field

from taskflow.http.filtering import NameFilters
from taskflow.http.paging import ListResponse, PageParams
from taskflow.http.schema import (
    CreatedAt,
    In,
    Matches,
    OneLine,
    Out,
    RowId,
    UpdatedAt,
    Version,
    example,
)
from tasks.models.tags import COLOR_PATTERN

StoredTagName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=100,
        description="The name, unique in the tenant without regard to case.",
        examples=["bug"],
    ),
]
TagName = Annotated[StoredTagName, OneLine]
Color = Annotated[
    str,
    Matches(COLOR_PATTERN, gettext_noop("be “#” and six hexadecimal digits, as in #1F6FEB")),
    Field(
        description="The color as # and six hexadecimal digits. Null: no color.",
        examples=["#1F6FEB"],
    ),
]


class TagRef(Out):
    """A tag as a part of a task."""

    id: RowId
    name: str = Field(description="The name.")
    color: str | None = Field(description="The color, such as #1F6FEB, or null.")


class TagResponse(TagRef):
    """A tag."""

    version: Version
    created_at: CreatedAt
    updated_at: UpdatedAt


class TagCreate(In):
    """A new tag."""

    model_config = example(name="urgent", color="#1F6FEB")

    name: TagName
    color: Color | None = None


class TagUpdate(In):
    """The fields to change. Fields that are absent stay as they are."""

    model_config = example(color="#1F6FEB")

    name: TagName | MISSING = MISSING
    color: Color | None | MISSING = MISSING


class TagFilters(PageParams, NameFilters):
    """Filters of tags. `q` finds names."""


class TagListResponse(ListResponse[TagResponse]):
    """A page of the list of tags."""
