"""The schemas of tasks."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import MISSING, Field, StrictBool, StringConstraints, ValidationError

from accounts.schemas.users import UserRef
from taskflow.db.types import MAX_ID
from taskflow.http.fields import RowListParams, RowParams
from taskflow.http.filtering import (
    ChangeFilters,
    list_filter_field,
    metadata_exclusion_field,
    metadata_filter_field,
    with_exclusions,
)
from taskflow.http.json_filters import JsonFilter
from taskflow.http.paging import ListResponse
from taskflow.http.references import (
    IS_REFERENCE,
    ProjectReference,
    TaskReference,
    WithReferences,
    reference_schema,
)
from taskflow.http.schema import (
    CreatedAt,
    Day,
    DayOrTimestamp,
    ExcludedWords,
    FilterWord,
    Id,
    In,
    LongText,
    Metadata,
    OneLine,
    Out,
    RowId,
    SearchWords,
    StoredMetadata,
    Timestamp,
    UpdatedAt,
    Version,
    WholeNumber,
    example,
)
from taskflow.http.validation import problem_of_validation
from tasks.models import Outcome, Priority, ProjectStatus, Status, Task
from tasks.models.tasks import MAX_TAGS
from tasks.schemas.comments import RecentComments
from tasks.schemas.links import Links, TaskLinkResponse
from tasks.schemas.tags import StoredTagName, TagName, TagRef

Title = Annotated[
    str,
    Field(min_length=1, max_length=500, description="One line.", examples=["Fix the login"]),
    OneLine,
]
Description = Annotated[LongText, Field(description="Markdown.")]
TagNames = Annotated[
    list[TagName],
    Field(
        max_length=MAX_TAGS,
        description="Names of tags. Tags that do not exist are created.",
        examples=[["bug"]],
    ),
]
ExternalRef = Annotated[
    str,
    StringConstraints(strip_whitespace=True),  # in a path, too
    Field(
        min_length=1,
        max_length=255,
        description="The id of the task in another system; unique in the project. White space"
        " around it is left out.",
    ),
]


MAX_BLOCKERS = 100  # in one request
Blockers = Annotated[
    list[TaskReference],
    Field(
        max_length=MAX_BLOCKERS,
        description="The tasks that block it, by id or key, in any visible project. They replace"
        " all present blockers.",
    ),
]
OUTCOME_DESCRIPTION = "Of a done task; `completed` if it is absent. An open task has none: null."
LocalRef = Annotated[str, Field(min_length=1, max_length=100)]
Assignee = Annotated[
    int | str,
    IS_REFERENCE,
    reference_schema("The user who does the task: `me`, an id or `@handle`.", "@ada"),
]
AssigneeId = Annotated[Id, Field(description="The id of the assignee, in place of `assignee`.")]
Parent = Annotated[
    int | str,
    IS_REFERENCE,
    reference_schema("The task that this is a subtask of, by id or key.", "WEB-12"),
]
ParentId = Annotated[Id, Field(description="The id of the parent, in place of `parent`.")]
ProjectId = Annotated[Id, Field(description="The id of the project, in place of `project`.")]
DueDate = Annotated[
    Timestamp, Field(description="When it is due, as a time. Not together with `due_on`.")
]
DueOn = Annotated[
    Day, Field(description="When it is due, as a day in every time zone. Not with `due_date`.")
]


class TaskResponse(Out):
    """A task."""

    id: RowId
    key: str = Field(
        description="The key for people, such as WEB-12. Accepted in paths and filters."
    )
    number: int = Field(description="The number in the project, part of the key.")
    project_id: int = Field(description="The id of its project.")
    title: str = Field(description="One line.")
    description: str = Field(description="Markdown; may be empty.")
    status: Status
    outcome: Outcome | None = Field(
        description="How a done task ended: its work was finished, or it was dropped. Null: open."
    )
    completed: bool = Field(description="Whether the status is `done`, with either outcome.")
    ready: bool = Field(description="Whether the task is open and no open task blocks it.")
    priority: Priority
    assignee_id: int | None = Field(description="The id of the assignee, or null.")
    assignee: UserRef | None = Field(description="The user who does the task, or null.")
    created_by_id: int | None = Field(description="The id of the creator, or null.")
    created_by: UserRef | None = Field(description="Null if an operator created it.")
    parent_id: int | None = Field(description="The task that this is a subtask of, or null.")
    blocked_by: list[int] = Field(description="Ids of the tasks that block it, done ones too.")
    tags: list[TagRef] = Field(description="Its tags, by name.")
    due_date: datetime | None = Field(description="When it is due, as a time in UTC.")
    due_on: date | None = Field(description="When it is due, as a day in every time zone.")
    links: list[TaskLinkResponse] = Field(description="Links to pages elsewhere, in their order.")
    metadata: StoredMetadata
    external_ref: str | None = Field(description="Its id in another system, or null.")
    version: Version
    completed_at: datetime | None = Field(description="When it became done; null while open.")
    created_at: CreatedAt
    updated_at: UpdatedAt
    last_activity_at: datetime = Field(
        description="The later of `updated_at` and the last change of a comment on the task."
    )
    comments: RecentComments | MISSING = Field(
        MISSING, description="Only in the response to a request with `include=comments`."
    )

    @staticmethod
    def resolve_comments(task: Task) -> Any:
        """Return MISSING: the attribute of this name would be all comments of the task."""
        return MISSING

    @staticmethod
    def resolve_blocked_by(task: Task) -> list[int]:
        return [blocker.pk for blocker in task.blocked_by.all()]


class TaskParams(RowParams):
    """The query parameters of one task."""

    include: Literal["comments"] | None = Field(
        None, description="`comments`: also return the latest comments."
    )


class TaskFields(WithReferences):
    """The fields of every operation that creates tasks."""

    title: Title
    description: Description = ""
    status: Status = Status.TODO
    outcome: Outcome | None = Field(None, description=OUTCOME_DESCRIPTION)
    priority: Priority = Priority.MEDIUM
    assignee: Assignee | None = None
    assignee_id: AssigneeId | None = None
    tags: TagNames = []
    due_date: DueDate | None = None
    due_on: DueOn | None = None
    links: Links = []
    metadata: Metadata = {}
    external_ref: ExternalRef | None = None


class TaskCreate(TaskFields):
    """A new task. Send `project`, or `project_id`."""

    model_config = example(
        project="WEB",
        title="Check all links",
        assignee="me",
        priority="high",
        tags=["docs"],
        due_on="2026-12-01",
    )

    required_references = ("project",)

    project: ProjectReference | MISSING = MISSING
    project_id: ProjectId | MISSING = MISSING
    parent: Parent | None = None
    parent_id: ParentId | None = None
    blocked_by: Blockers = []
    force: StrictBool = Field(False, description="Allow an open task below a done parent.")


class ProjectTask(TaskFields):
    """A task that is created together with its project."""

    ref: LocalRef | None = Field(
        None,
        description="A name by which other tasks of this request refer to it in `blocked_by`."
        " It is not stored.",
    )
    blocked_by: Annotated[list[LocalRef | Id], Field(max_length=MAX_BLOCKERS)] = Field(
        [],
        description="The blockers: the `ref` of a task in this request, or an id or a key.",
    )
    subtasks: list[ProjectTask] = Field(
        [], description="The tasks below it, at most 5 levels of tasks in all."
    )


class TaskUpsert(WithReferences):
    """The fields to set. The external_ref is in the path."""

    model_config = example(title="Pay the invoice", priority="low")

    title: Title | MISSING = MISSING
    description: Description | MISSING = MISSING
    status: Status | MISSING = MISSING
    outcome: Outcome | None | MISSING = Field(MISSING, description=OUTCOME_DESCRIPTION)
    priority: Priority | MISSING = MISSING
    assignee: Assignee | None | MISSING = MISSING
    assignee_id: AssigneeId | None | MISSING = MISSING
    parent: Parent | None | MISSING = MISSING
    parent_id: ParentId | None | MISSING = MISSING
    blocked_by: Blockers | MISSING = MISSING
    tags: TagNames | MISSING = MISSING
    due_date: DueDate | None | MISSING = MISSING
    due_on: DueOn | None | MISSING = MISSING
    links: Links | MISSING = MISSING
    metadata: Metadata | MISSING = MISSING


class TaskUpdate(TaskUpsert):
    """The fields to change. Fields that are absent stay as they are."""

    model_config = example(priority="high", assignee="@bob")
    merged_fields = frozenset({"metadata"})
    hints = {
        "project": "Move the task with POST /tasks/{id}/move.",
        "project_id": "Move the task with POST /tasks/{id}/move.",
        "completed": "Send the status done, or another status to reopen the task.",
        "number": "A task keeps its number until it is moved to another project.",
    }

    external_ref: ExternalRef | None | MISSING = MISSING


class Forced(In):
    force: StrictBool = Field(
        False,
        description="Complete although subtasks, blockers or tasks of the project are open; allow"
        " an open task below a done parent.",
    )


class TaskCompletion(In):
    """The outcome of a task that becomes done."""

    model_config = example(outcome="cancelled")

    outcome: Outcome | MISSING = Field(
        MISSING,
        description="`cancelled`: the work was dropped. Default: `completed`. A done task keeps its"
        " outcome unless another one is sent.",
    )


class TaskAssignment(WithReferences):
    """The user to assign the task to. Send `assignee`, or `assignee_id`."""

    model_config = example(assignee="@bob")

    required_references = ("assignee",)

    assignee: Assignee | MISSING = MISSING
    assignee_id: AssigneeId | MISSING = MISSING


class TaskMove(WithReferences):
    """The project to move the task to. Send `project`, or `project_id`."""

    model_config = example(project="ENG")

    required_references = ("project",)

    project: ProjectReference | MISSING = MISSING
    project_id: ProjectId | MISSING = MISSING


# In a URL the digits, in a body the number.
ViewId = Annotated[WholeNumber, Field(ge=1, le=MAX_ID)]


@with_exclusions
class TaskWhere(ChangeFilters):
    """Filters of tasks. A task must satisfy all of them. If a filter has several values, one of
    them is enough. A filter whose name ends in `_not` excludes tasks: `status_not=done`.
    """

    view: ViewId | MISSING = Field(
        MISSING,
        description="The id of a stored view: its filters, beside the others. GET /views.",
    )
    q: SearchWords | MISSING = MISSING
    q_not: ExcludedWords | MISSING = MISSING
    project: list[FilterWord] | MISSING = list_filter_field("Id or key.")
    project_status: list[ProjectStatus] | MISSING = list_filter_field(
        "Without this filter and without `project`, tasks of archived projects are left out."
    )
    status: list[Status] | MISSING = list_filter_field("One of these statuses.")
    outcome: list[Outcome] | MISSING = list_filter_field(
        "Done tasks with one of these outcomes. `outcome_not=cancelled` keeps open tasks too."
    )
    priority: list[Priority] | MISSING = list_filter_field("One of these priorities.")
    ready: StrictBool | MISSING = Field(
        MISSING,
        description="`true`: open and not blocked by an open task; `false`: done or blocked.",
    )
    assignee: list[FilterWord] | MISSING = list_filter_field("`me`, `none`, id or `@handle`.")
    created_by: list[FilterWord] | MISSING = list_filter_field(
        "`me`, id or `@handle`; `none`: created by an operator."
    )
    tag: list[StoredTagName] | MISSING = list_filter_field("Name, without regard to case.")
    tag_all: list[StoredTagName] | MISSING = list_filter_field(
        "Names, without regard to case. The task has all of these tags."
    )
    tag_none: StrictBool | MISSING = Field(
        MISSING, description="`true`: without a tag; `false`: with any tag."
    )
    parent: list[FilterWord] | MISSING = list_filter_field("Id or key (WEB-12).")
    parent_none: StrictBool | MISSING = Field(
        MISSING, description="`true`: top tasks; `false`: subtasks."
    )
    blocked_by: list[FilterWord] | MISSING = list_filter_field("Id or key of a blocker.")
    blocked_by_none: StrictBool | MISSING = Field(
        MISSING, description="`true`: without a blocker, open or done; `false`: with any blocker."
    )
    external_ref: list[ExternalRef] | MISSING = list_filter_field("Id in another system.")
    external_ref_none: StrictBool | MISSING = Field(
        MISSING, description="`true`: without an external_ref; `false`: with one."
    )
    metadata: JsonFilter | MISSING = metadata_filter_field()
    metadata_not: JsonFilter | MISSING = metadata_exclusion_field()
    overdue: StrictBool | MISSING = Field(
        MISSING,
        description="`true`: open, and its due time or due day has passed; `false`: all others.",
    )
    due_none: StrictBool | MISSING = Field(
        MISSING, description="`true`: without a due day or time; `false`: with one."
    )
    due_before: DayOrTimestamp | MISSING = MISSING
    due_after: DayOrTimestamp | MISSING = MISSING
    created_before: DayOrTimestamp | MISSING = MISSING
    created_after: DayOrTimestamp | MISSING = MISSING
    updated_before: DayOrTimestamp | MISSING = MISSING
    updated_after: DayOrTimestamp | MISSING = MISSING
    completed_before: DayOrTimestamp | MISSING = MISSING
    completed_after: DayOrTimestamp | MISSING = MISSING

    @staticmethod
    def read_stored(value: object) -> TaskWhere:
        """Return the filters of a stored view. Raises Invalid for those that are not valid."""
        try:
            return TaskWhere.model_validate(value)
        except ValidationError as error:
            raise problem_of_validation(error, TaskWhere) from None


class TaskFilters(RowListParams, TaskWhere):
    include: Literal["count", "cursor"] | None = Field(  # type: ignore[assignment]
        None,
        description="`count`: also count all rows that match. `cursor`: also return"
        " `events_cursor`, from which `GET /events` reads what changes after this page.",
    )
    sort: str | None = Field(
        None,
        min_length=1,
        max_length=100,
        description="`created_at`, `updated_at`, `last_activity_at`, `due_date`, `due_on`, `due`"
        " (days and times together), `priority` (by urgency), `title` or `number`. A leading `-`"
        " sorts descending; separate several by commas. Default: newest first.",
    )


class TaskListResponse(ListResponse[TaskResponse]):
    """A page of a list of tasks."""

    events_cursor: str | MISSING = Field(
        MISSING,
        description="Only with `include=cursor`. Pass it to `GET /events` as `after`: the page"
        " contains all changes up to there, and may contain later ones.",
    )
