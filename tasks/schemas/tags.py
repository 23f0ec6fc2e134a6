"""The schemas of tags."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import MISSING, Field

from taskflow.http.paging import ListResponse
from taskflow.http.schema import In, Out, Version
from tasks.models.tags import COLOR_PATTERN

TagName = Annotated[str, Field(min_length=1, max_length=100)]
Color = Annotated[str, Field(pattern=rf"^{COLOR_PATTERN.pattern}$", examples=["#1F6FEB"])]


class TagRef(Out):
    """A tag as a part of a task."""

    id: int
    name: str
    color: str | None


class TagResponse(TagRef):
    version: Version
    created_at: datetime
    updated_at: datetime


class TagCreate(In):
    name: TagName
    color: Color | None = None


class TagUpdate(In):
    name: TagName | MISSING = MISSING
    color: Color | None | MISSING = MISSING


class TagListResponse(ListResponse[TagResponse]):
    pass
