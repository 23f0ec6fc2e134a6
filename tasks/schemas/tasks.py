"""The schemas of tasks."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated

from pydantic import MISSING, Field

from accounts.schemas import UserRef
from taskflow.http.filtering import Filters, list_filter_field, with_exclusions
from taskflow.http.paging import ListResponse, PageParams
from taskflow.http.schema import (
    Day,
    DayOrTimestamp,
    ExcludedWords,
    FilterWord,
    Id,
    In,
    LongText,
    Metadata,
    Out,
    SearchWords,
    Timestamp,
    Version,
)
from tasks.models import Priority, ProjectStatus, Status, Task
from tasks.models.tasks import MAX_TAGS
from tasks.schemas.tags import TagName, TagRef

Title = Annotated[str, Field(min_length=1, max_length=500)]
TagNames = Annotated[
    list[TagName],
    Field(max_length=MAX_TAGS, description="Names of tags. Tags that do not exist are created."),
]
ExternalRef = Annotated[
    str,
    Field(
        min_length=1,
        max_length=255,
        description="The id of the task in another system; unique in the project.",
    ),
]


MAX_BLOCKERS = 100  # in one request
BlockerIds = Annotated[
    list[Id],
    Field(
        max_length=MAX_BLOCKERS,
        description="Ids of the tasks that block it, in any visible project. They replace all"
        " present blockers.",
    ),
]
LocalRef = Annotated[str, Field(min_length=1, max_length=100)]


class TaskResponse(Out):
    id: int
    key: str = Field(
        description="The key for people, such as WEB-12. Accepted in paths and filters."
    )
    number: int
    project_id: int
    title: str
    description: str
    status: Status
    completed: bool
    ready: bool = Field(description="Whether the task is open and no open task blocks it.")
    priority: Priority
    assignee: UserRef | None
    created_by: UserRef | None = Field(description="Null if an operator created it.")
    parent_id: int | None
    blocked_by: list[int] = Field(description="Ids of the tasks that block it, done ones too.")
    tags: list[TagRef]
    due_date: datetime | None
    due_on: date | None
    metadata: dict[str, object]
    external_ref: str | None
    version: Version
    completed_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @staticmethod
    def resolve_blocked_by(task: Task) -> list[int]:
        return [blocker.pk for blocker in task.blocked_by.all()]


class TaskFields(In):
    """The fields of every operation that creates tasks."""

    title: Title
    description: LongText = ""
    status: Status = Status.TODO
    priority: Priority = Priority.MEDIUM
    assignee_id: Id | None = None
    tags: TagNames = []
    due_date: Timestamp | None = None
    due_on: Day | None = None
    metadata: Metadata = {}
    external_ref: ExternalRef | None = None


class TaskCreate(TaskFields):
    project_id: Id
    parent_id: Id | None = None
    blocked_by: BlockerIds = []
    force: bool = Field(False, description="Allow an open task below a done parent.")


class ProjectTask(TaskFields):
    """A task that is created together with its project."""

    ref: LocalRef | None = Field(
        None,
        description="A name by which other tasks of this request refer to it in `blocked_by`."
        " It is not stored.",
    )
    blocked_by: Annotated[list[LocalRef | Id], Field(max_length=MAX_BLOCKERS)] = Field(
        [], description="The blockers: the `ref` of a task in this request, or the id of a task."
    )
    subtasks: list[ProjectTask] = []


class TaskUpsert(In):
    """The fields to set. The external_ref is in the path."""

    title: Title | MISSING = MISSING
    description: LongText | MISSING = MISSING
    status: Status | MISSING = MISSING
    priority: Priority | MISSING = MISSING
    assignee_id: Id | None | MISSING = MISSING
    parent_id: Id | None | MISSING = MISSING
    blocked_by: BlockerIds | MISSING = MISSING
    tags: TagNames | MISSING = MISSING
    due_date: Timestamp | None | MISSING = MISSING
    due_on: Day | None | MISSING = MISSING
    metadata: Metadata | MISSING = MISSING


class TaskUpdate(TaskUpsert):
    external_ref: ExternalRef | None | MISSING = MISSING


class Forced(In):
    force: bool = Field(
        False,
        description="Complete although subtasks, blockers or tasks of the project are open; allow"
        " an open task below a done parent.",
    )


class TaskAssignment(In):
    assignee_id: Id


class TaskMove(In):
    project_id: Id


@with_exclusions
class TaskWhere(Filters):
    """Filters of tasks. A task must satisfy all of them. If a filter has several values, one of
    them is enough. A filter whose name ends in `_not` excludes tasks: `status_not=done`.
    """

    q: SearchWords | MISSING = MISSING
    q_not: ExcludedWords | MISSING = MISSING
    project: list[FilterWord] | MISSING = list_filter_field("Id or key.")
    project_status: list[ProjectStatus] | MISSING = list_filter_field(
        "Without this filter and without `project`, tasks of archived projects are left out."
    )
    status: list[Status] | MISSING = list_filter_field()
    priority: list[Priority] | MISSING = list_filter_field()
    ready: bool | MISSING = Field(
        MISSING,
        description="`true`: open and not blocked by an open task; `false`: done or blocked.",
    )
    assignee: list[FilterWord] | MISSING = list_filter_field("`me`, `none`, id or `@handle`.")
    created_by: list[FilterWord] | MISSING = list_filter_field("`me`, id or `@handle`.")
    tag: list[TagName] | MISSING = list_filter_field("Name, without regard to case.")
    tag_none: bool | MISSING = Field(
        MISSING, description="`true`: without a tag; `false`: with any tag."
    )
    parent: list[FilterWord] | MISSING = list_filter_field("Id or key (WEB-12).")
    parent_none: bool | MISSING = Field(
        MISSING, description="`true`: top tasks; `false`: subtasks."
    )
    blocked_by: list[FilterWord] | MISSING = list_filter_field("Id or key of a blocker.")
    blocked_by_none: bool | MISSING = Field(
        MISSING, description="`true`: without a blocker, open or done; `false`: with any blocker."
    )
    external_ref: list[ExternalRef] | MISSING = list_filter_field()
    external_ref_none: bool | MISSING = Field(
        MISSING, description="`true`: without an external_ref; `false`: with one."
    )
    due_before: DayOrTimestamp | MISSING = MISSING
    due_after: DayOrTimestamp | MISSING = MISSING
    created_before: DayOrTimestamp | MISSING = MISSING
    created_after: DayOrTimestamp | MISSING = MISSING
    updated_before: DayOrTimestamp | MISSING = MISSING
    updated_after: DayOrTimestamp | MISSING = MISSING
    updated_since: Timestamp | MISSING = Field(MISSING, description="At this time or later.")
    completed_before: DayOrTimestamp | MISSING = MISSING
    completed_after: DayOrTimestamp | MISSING = MISSING


class TaskFilters(PageParams, TaskWhere):
    sort: str | None = Field(
        None,
        min_length=1,
        max_length=100,
        description="`created_at`, `updated_at`, `due_date`, `due_on`, `priority` (by urgency),"
        " `title` or `number`. A leading `-` sorts descending; separate several by commas."
        " Default: newest first.",
    )


class TaskListResponse(ListResponse[TaskResponse]):
    pass
