"""The schemas of projects and their members."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from django.utils.translation import gettext_noop
from pydantic import MISSING, Field

from accounts.schemas.users import UserRef
from taskflow.http.fields import RowListParams
from taskflow.http.filtering import (
    NameFilters,
    list_filter_field,
    metadata_exclusion_field,
    metadata_filter_field,
    with_exclusions,
)
from taskflow.http.json_filters import JsonFilter
from taskflow.http.paging import ListResponse
from taskflow.http.references import OwnerReference, UserReference, WithReferences
from taskflow.http.schema import (
    CreatedAt,
    DayOrTimestamp,
    FilterWord,
    Id,
    In,
    LongText,
    Matches,
    Metadata,
    OneLine,
    Out,
    RowId,
    StoredMetadata,
    Timestamp,
    UpdatedAt,
    Version,
    empty,
    example,
)
from tasks.models import ProjectStatus, Role
from tasks.models.projects import KEY_PATTERN
from tasks.schemas.tasks import ProjectTask

Name = Annotated[
    str, Field(min_length=1, max_length=255, description="The name.", examples=["Website"]), OneLine
]
ProjectKey = Annotated[
    str,
    Matches(KEY_PATTERN, gettext_noop("have only capitals and digits, and begin with a capital")),
    Field(
        min_length=2,
        max_length=10,
        description="Two to ten capitals, unique in the tenant. Keys of tasks begin with it.",
        examples=["WEB"],
    ),
]
Description = Annotated[LongText, Field(description="Markdown.")]
OwnerId = Annotated[Id, Field(description="The id of the owner, in place of `owner`.")]


class TaskCounts(Out):
    """How many tasks of a project have each status. Done tasks are counted by outcome."""

    todo: int = Field(description="Tasks with the status `todo`.")
    in_progress: int = Field(description="Tasks with the status `in_progress`.")
    done: int = Field(description="Done tasks with the outcome `completed`.")
    cancelled: int = Field(description="Done tasks with the outcome `cancelled`.")


class ProjectResponse(Out):
    """A project."""

    id: RowId
    key: str = Field(description="The key, such as WEB. Accepted in paths, filters and bodies.")
    name: str = Field(description="The name.")
    description: str = Field(description="Markdown; may be empty.")
    status: ProjectStatus
    metadata: StoredMetadata
    owner_id: int = Field(description="The id of the owner.")
    owner: UserRef = Field(description="The user who owns the project.")
    role: Role | None = Field(
        description="Your role in the project. Null: you see it as an administrator."
    )
    task_counts: TaskCounts
    version: Version
    created_at: CreatedAt
    updated_at: UpdatedAt


class ProjectCreate(WithReferences):
    """A new project. By default you are its owner."""

    model_config = example(
        name="Moon Landing",
        tasks=[{"title": "Build the rocket", "subtasks": [{"title": "Order fuel"}]}],
    )

    name: Name
    key: ProjectKey | None = Field(
        None, description="Two to ten capitals. Derived from the name if absent."
    )
    description: Description = ""
    status: ProjectStatus = ProjectStatus.ACTIVE
    metadata: Metadata = empty(dict)
    owner: OwnerReference | None = Field(
        None,
        description="The owner: `me`, an id or `@handle`. Only administrators can name another"
        " user.",
    )
    owner_id: OwnerId | None = None
    tasks: list[ProjectTask] = Field(
        [],
        description="The first tasks, at most 500 with all subtasks. If one is refused, nothing is"
        " created.",
    )


class CompletedTasks(Out):
    """How many tasks a request has completed."""

    completed: int = Field(description="The number of tasks that were open before.")


class ProjectUpdate(WithReferences):
    """The fields to change. Fields that are absent stay as they are."""

    model_config = example(name="New website")
    merged_fields = frozenset({"metadata"})

    name: Name | MISSING = MISSING
    key: ProjectKey | MISSING = MISSING
    description: Description | MISSING = MISSING
    status: ProjectStatus | MISSING = MISSING
    metadata: Metadata | MISSING = MISSING
    owner: OwnerReference | MISSING = MISSING
    owner_id: OwnerId | MISSING = MISSING


@with_exclusions
class ProjectFilters(RowListParams, NameFilters):
    """`q` finds names and keys. Rows must satisfy all filters. If a filter has several values, one
    of them is enough. A filter whose name ends in `_not` excludes rows.
    """

    status: list[ProjectStatus] | MISSING = list_filter_field("One of these statuses.")
    owner: list[FilterWord] | MISSING = list_filter_field("`me`, an id or `@handle`.")
    metadata: JsonFilter | MISSING = metadata_filter_field()
    metadata_not: JsonFilter | MISSING = metadata_exclusion_field()
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
    """A page of the list of projects."""


class ProjectMemberResponse(Out):
    """A membership: a user in a project."""

    id: RowId
    project_id: int = Field(description="The id of the project.")
    user_id: int = Field(description="The id of the user.")
    user: UserRef = Field(description="The user who is a member.")
    role: Role
    version: Version
    joined_at: datetime = Field(description="When the user became a member, in UTC.")
    updated_at: UpdatedAt


class MemberRemoval(Out):
    """What else was changed when a member left a project."""

    tasks_unassigned: int = Field(
        description="The number of open tasks in the project that have no assignee any more."
    )


class ProjectMemberCreate(WithReferences):
    """A new member of a project. Send `user`, or `user_id`."""

    model_config = example(user="@dmitri", role="member")

    required_references = ("user",)

    user: UserReference | MISSING = MISSING
    user_id: (
        Annotated[Id, Field(description="The id of the user, in place of `user`.")] | MISSING
    ) = MISSING
    role: Role = Role.MEMBER


class ProjectMemberUpdate(In):
    """The new role of a member."""

    model_config = example(role="admin")

    role: Role


class ProjectMemberListResponse(ListResponse[ProjectMemberResponse]):
    """A page of the list of members."""
