"""The schemas of projects and their members."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import MISSING, Field

from accounts.schemas import UserRef
from taskflow.http.filtering import Filters, list_filter_field, with_exclusions
from taskflow.http.paging import ListResponse, PageParams
from taskflow.http.schema import (
    DayOrTimestamp,
    FilterWord,
    Id,
    In,
    LongText,
    Metadata,
    Out,
    Timestamp,
    Version,
)
from tasks.models import ProjectStatus, Role
from tasks.models.projects import KEY_PATTERN
from tasks.schemas.tasks import ProjectTask

Name = Annotated[str, Field(min_length=1, max_length=255)]
ProjectKey = Annotated[
    str,
    Field(min_length=2, max_length=10, pattern=rf"^{KEY_PATTERN.pattern}$", examples=["WEB"]),
]


class TaskCounts(Out):
    todo: int
    in_progress: int
    done: int


class ProjectResponse(Out):
    id: int
    key: str
    name: str
    description: str
    status: ProjectStatus
    metadata: dict[str, object]
    owner: UserRef
    role: Role | None = Field(
        description="Your role in the project. Null: you see it as an administrator."
    )
    task_counts: TaskCounts
    version: Version
    created_at: datetime
    updated_at: datetime


class ProjectCreate(In):
    name: Name
    key: ProjectKey | None = Field(None, description="Derived from the name if absent.")
    description: LongText = ""
    status: ProjectStatus = ProjectStatus.ACTIVE
    metadata: Metadata = {}
    owner_id: Id | None = Field(
        None, description="Default: you. Only administrators can name another user."
    )
    tasks: list[ProjectTask] = Field(
        [],
        description="The first tasks, at most 500 with all subtasks. If one is refused, nothing is"
        " created.",
    )


class CompletedTasks(Out):
    completed: int


class ProjectUpdate(In):
    name: Name | MISSING = MISSING
    key: ProjectKey | MISSING = MISSING
    description: LongText | MISSING = MISSING
    status: ProjectStatus | MISSING = MISSING
    metadata: Metadata | MISSING = MISSING
    owner_id: Id | MISSING = MISSING


@with_exclusions
class ProjectFilters(PageParams, Filters):
    """Rows must satisfy all filters. If a filter has several values, one of them is enough. A
    filter whose name ends in `_not` excludes rows.
    """

    status: list[ProjectStatus] | MISSING = list_filter_field()
    owner: list[FilterWord] | MISSING = list_filter_field("`me`, an id or `@handle`.")
    created_before: DayOrTimestamp | MISSING = MISSING
    created_after: DayOrTimestamp | MISSING = MISSING
    updated_before: DayOrTimestamp | MISSING = MISSING
    updated_after: DayOrTimestamp | MISSING = MISSING
    updated_since: Timestamp | MISSING = Field(MISSING, description="At this time or later.")
    sort: str | None = Field(
        None,
        min_length=1,
        max_length=100,
        description="`name`, `key`, `created_at` or `updated_at`; a leading `-` sorts descending."
        " Default: newest first.",
    )


class ProjectListResponse(ListResponse[ProjectResponse]):
    pass


class ProjectMemberResponse(Out):
    id: int
    project_id: int
    user: UserRef
    role: Role
    version: Version
    joined_at: datetime
    updated_at: datetime


class MemberRemoval(Out):
    tasks_unassigned: int = Field(
        description="The number of open tasks in the project that have no assignee any more."
    )


class ProjectMemberCreate(In):
    user_id: Id
    role: Role = Role.MEMBER


class ProjectMemberUpdate(In):
    role: Role


class ProjectMemberListResponse(ListResponse[ProjectMemberResponse]):
    pass
