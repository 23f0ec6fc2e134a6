"""What tasks look like on the wire."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

from pydantic import MISSING, Field

from accounts.schemas import UserRef
from taskflow.paging import Page, PageParams
from taskflow.schema import Day, Id, In, Instant, Metadata, Out, Text
from tasks.models import Priority, Status
from tasks.schemas.tags import TagName, TagRef

Title = Annotated[str, Field(min_length=1, max_length=500)]
TagNames = Annotated[
    list[TagName], Field(max_length=50, description="Names; those that don't exist yet are made.")
]
ExternalRef = Annotated[
    str,
    Field(min_length=1, max_length=255, description="Your own id for it, unique in the project."),
]


class TaskResponse(Out):
    id: int
    key: str = Field(description="As people write it; accepted wherever a task id is.")
    number: int
    project_id: int
    title: str
    description: str
    status: Status
    completed: bool
    priority: Priority
    assignee: UserRef | None
    created_by: UserRef | None = Field(description="Null when an operator made it.")
    parent_id: int | None
    tags: list[TagRef]
    due_date: datetime | None
    due_on: date | None
    metadata: dict[str, object]
    external_ref: str | None
    version: int = Field(description="Grows by one with every change.")
    completed_at: datetime | None
    created_at: datetime
    updated_at: datetime


class TaskCreate(In):
    project_id: Id
    title: Title
    description: Text = ""
    status: Status = Status.TODO
    priority: Priority = Priority.MEDIUM
    assignee_id: Id | None = None
    parent_id: Id | None = None
    tags: TagNames = []
    due_date: Instant | None = None
    due_on: Day | None = None
    metadata: Metadata = {}
    external_ref: ExternalRef | None = None


class TaskUpdate(In):
    title: Title | MISSING = MISSING
    description: Text | MISSING = MISSING
    status: Status | MISSING = MISSING
    priority: Priority | MISSING = MISSING
    assignee_id: Id | None | MISSING = MISSING
    parent_id: Id | None | MISSING = MISSING
    tags: TagNames | MISSING = MISSING
    due_date: Instant | None | MISSING = MISSING
    due_on: Day | None | MISSING = MISSING
    metadata: Metadata | MISSING = MISSING
    external_ref: ExternalRef | None | MISSING = MISSING


class TaskFilters(PageParams):
    project: list[str] | None = Field(None, description="Id or key; repeat it for “or”.")
    status: list[Status] | None = None
    priority: list[Priority] | None = None
    assignee: str | None = Field(
        None, min_length=1, max_length=60, description="`me`, `none`, id or `@handle`."
    )
    tag: list[TagName] | None = Field(None, description="Name; repeat it for “or”.")
    parent: str | None = Field(
        None, min_length=1, max_length=30, description="`none`, id or key (WEB-12)."
    )
    due_before: Instant | Day | None = Field(None, description="A day or an instant.")
    due_after: Instant | Day | None = None
    updated_since: Instant | None = None
    sort: str | None = Field(
        None,
        min_length=1,
        max_length=100,
        description="`created_at`, `updated_at`, `due_date`, `due_on`, `priority`,"
        " `title`, `number`; `-` descends, a comma continues. By default the newest first.",
    )


class TaskPage(Page[TaskResponse]):
    pass
