"""The schemas of tasks."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import MISSING, Field, StrictBool, StringConstraints

from accounts.schemas.users import UserRef
from taskflow.http.fields import RowParams
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
    Id,
    In,
    LongText,
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
from tasks.models import Outcome, Priority, Status, Task
from tasks.models.tasks import MAX_TAGS
from tasks.schemas.comments import RecentComments
from tasks.schemas.links import Links, TaskLinkResponse
from tasks.schemas.tags import TagName, TagRef

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
    tags: TagNames = empty(list)
    due_date: DueDate | None = None
    due_on: DueOn | None = None
    links: Links = empty(list)
    metadata: Metadata = empty(dict)
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
    blocked_by: Blockers = empty(list)
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


class TaskListResponse(ListResponse[TaskResponse]):
    """A page of a list of tasks."""

    events_cursor: str | MISSING = Field(
        MISSING,
        description="Only with `include=cursor`. Pass it to `GET /events` as `after`: the page"
        " contains all changes up to there, and may contain later ones.",
    )
