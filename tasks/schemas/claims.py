"""The schemas of claims."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from pydantic import MISSING, Field, StrictBool, StrictInt, model_validator

from accounts.schemas.users import UserRef
from taskflow.http.filtering import Filters, list_filter_field
from taskflow.http.paging import ListResponse, PageParams
from taskflow.http.references import TaskReference, UserReference, WithReferences
from taskflow.http.schema import FilterWord, Id, In, Metadata, OneLine, Out, RowId, example
from tasks.models import Claim, ClaimEnd, ClaimOutcome, Status
from tasks.models.claims import (
    DEFAULT_TTL,
    MAX_NOTE_LENGTH,
    MAX_PROGRESS,
    MAX_TTL,
    MAX_WORKER_LENGTH,
    MIN_TTL,
)
from tasks.queries.claimable import MAX_COUNT
from tasks.schemas.comments import Body
from tasks.schemas.task_filters import TaskWhere
from tasks.schemas.tasks import TaskResponse

MAX_WAIT = 25  # seconds
MAX_CONTEXT_TEXT = 2000  # characters of a text in the context of a claim
MAX_CONTEXT_COMMENTS = 10

Ttl = Annotated[
    StrictInt,
    Field(
        ge=MIN_TTL,
        le=MAX_TTL,
        description="Seconds until the claim expires, unless a heartbeat extends it.",
        examples=[DEFAULT_TTL],
    ),
]
Note = Annotated[
    str,
    Field(
        max_length=MAX_NOTE_LENGTH,
        description="What the worker is doing. The next worker of the task reads the last note.",
        examples=["Tests pass; writing the docs."],
    ),
]


class ClaimCreate(WithReferences):
    """Which tasks to claim: those that `where` selects, or the one that `task` or `task_id` names.
    Without any of them, all tasks that you may claim.
    """

    model_config = example(where={"project": ["WEB"]}, worker="host7/3")

    where: TaskWhere | MISSING = Field(
        MISSING, description="The filters of the list of tasks. Not together with `task`."
    )
    task: TaskReference | MISSING = MISSING
    task_id: (
        Annotated[Id, Field(description="The id of the task, in place of `task`.")] | MISSING
    ) = MISSING
    ttl_seconds: Ttl = DEFAULT_TTL
    worker: Annotated[
        str,
        OneLine,
        Field(
            max_length=MAX_WORKER_LENGTH,
            description="A name of the process that works, for people: one line.",
            examples=["host7/3"],
        ),
    ] = ""
    wait_seconds: StrictInt = Field(
        0, ge=0, le=MAX_WAIT, description="How long to wait for a task if there is none now."
    )
    count: StrictInt = Field(
        1, ge=1, le=MAX_COUNT, description="How many tasks to claim at most. 1 with `task`."
    )

    @model_validator(mode="after")
    def check_selection(self) -> Self:
        sent = self.model_fields_set
        if sent & {"task", "task_id"} and ("where" in sent or self.count > 1):
            raise ValueError("Send `task` without `where` and without a `count` above 1.")
        return self


class ClaimHeartbeat(In):
    """What the worker reports. Fields that are absent stay as they are."""

    model_config = example(progress=40, note="Tests pass; writing the docs.")

    progress: (
        Annotated[StrictInt, Field(ge=0, le=MAX_PROGRESS, description="In percent.")] | MISSING
    ) = MISSING
    note: Note | MISSING = MISSING
    ttl_seconds: Ttl | MISSING = MISSING


class ClaimCompletion(In):
    """How the work has ended."""

    model_config = example(outcome="completed", comment="Done in **v2**.", result={"pr": 17})

    outcome: ClaimOutcome = Field(
        description="`completed` or `cancelled`: the task is done with this outcome. `failed` or"
        " `released`: it gets back its status and assignee from before the claim. `needs_input`:"
        " it goes to `assign_to`."
    )
    comment: Body | MISSING = Field(MISSING, description="A comment to add to the task.")
    result: Metadata | MISSING = Field(
        MISSING,
        description="A JSON object that is merged into the `metadata` of the task (RFC 7396).",
    )
    assign_to: UserReference | MISSING = Field(
        MISSING,
        description="Only with `needs_input`: who gets the task. Default: the owner of the"
        " project.",
    )

    @model_validator(mode="after")
    def check_target(self) -> Self:
        if "assign_to" in self.model_fields_set and self.outcome != ClaimOutcome.NEEDS_INPUT:
            raise ValueError("`assign_to` is for the outcome needs_input. Leave it out.")
        return self


class ClaimedProject(Out):
    """The project of a claimed task."""

    id: RowId
    key: str = Field(description="The key, such as WEB.")
    name: str = Field(description="The name.")
    description: str = Field(description=f"Markdown, its first {MAX_CONTEXT_TEXT} characters.")


class ClaimedParent(Out):
    """The task above a claimed task."""

    id: RowId
    key: str = Field(description="The key, such as WEB-12.")
    title: str = Field(description="One line.")
    status: Status


class ContextComment(Out):
    """A comment on a claimed task."""

    author: str | None = Field(description="The handle of the author, or null.")
    created_at: datetime = Field(description="When it was written, in UTC.")
    body: str = Field(description=f"Markdown, its first {MAX_CONTEXT_TEXT} characters.")


class EarlierClaim(Out):
    """The claim of the task before this one."""

    worker: str = Field(description="The worker, as it named itself.")
    end: ClaimEnd | None = Field(description="How it has ended.")
    ended_at: datetime | None = Field(description="When it has ended, in UTC.")
    progress: int | None = Field(description="What it had reported last, in percent; or null.")
    note: str = Field(description="The last note of its worker; may be empty.")


class ClaimContext(Out):
    """What a worker should know beside the task itself."""

    project: ClaimedProject
    parent: ClaimedParent | None = Field(description="The task above it, or null.")
    comments: list[ContextComment] = Field(
        description=f"The latest {MAX_CONTEXT_COMMENTS}, in the order in which they were written."
    )
    earlier_claim: EarlierClaim | None = Field(description="Null for the first claim of the task.")


class GrantedClaim(Out):
    """A new claim, with its task."""

    id: RowId
    fence: int = Field(
        description="Grows with each claim of the task. Pass it to systems outside TaskFlow, which"
        " refuse a smaller one than they have seen."
    )
    expires_at: datetime = Field(description="Extend or finish the claim before, in UTC.")
    attempt: int = Field(description="Which attempt at the work this is, from 1.")
    task: TaskResponse
    context: ClaimContext


class GrantedClaims(Out):
    """The new claims."""

    data: list[GrantedClaim] = Field(description="Most urgent task first.")


class HeartbeatResponse(Out):
    """The state of an extended claim."""

    expires_at: datetime = Field(description="Until when the claim holds now, in UTC.")
    cancel_requested: bool = Field(
        description="Whether somebody has asked the worker to stop. Then finish the claim."
    )


class CompletionResponse(Out):
    """How a claim has ended. A repeated request gets the same answer."""

    id: RowId
    fence: int = Field(description="The fence of the claim.")
    outcome: ClaimOutcome
    ended_at: datetime = Field(description="When the claim has ended, in UTC.")
    task_id: int = Field(description="The id of the task.")
    task_key: str = Field(description="The key of the task at that time.")
    task_version: int = Field(description="The version of the task after it.")
    task_status: Status = Field(description="The status of the task after it.")
    assignee_id: int | None = Field(description="The assignee of the task after it, or null.")
    comment_id: int | None = Field(description="The id of the new comment, or null.")


class ClaimResponse(Out):
    """A claim of a task by a worker."""

    id: RowId
    task_id: int = Field(description="The id of the task.")
    task_key: str = Field(description="The key of the task, such as WEB-12.")
    user_id: int = Field(description="The id of the user who has claimed it.")
    user: UserRef
    worker: str = Field(description="The process, as it named itself; may be empty.")
    fence: int = Field(description="Grows with each claim of the task.")
    attempt: int = Field(description="Which attempt at the work it is, from 1.")
    ttl_seconds: int = Field(description="The seconds by which a heartbeat extends it.")
    is_open: bool = Field(description="Whether it holds the task now.")
    created_at: datetime = Field(description="When the task was claimed, in UTC.")
    heartbeat_at: datetime = Field(description="When it was last extended, in UTC.")
    expires_at: datetime = Field(description="Until when it holds, in UTC.")
    progress: int | None = Field(description="In percent, as the worker has reported it; or null.")
    note: str = Field(description="The last note of the worker; may be empty.")
    cancel_requested_at: datetime | None = Field(
        description="When somebody has asked the worker to stop, in UTC; or null."
    )
    ended_at: datetime | None = Field(
        description="When it was ended, in UTC. Null for an open claim, and for one that has"
        " expired until another request claims or changes the task."
    )
    end: ClaimEnd | None = Field(description="How it was ended; or null.")

    @staticmethod
    def resolve_task_key(claim: Claim) -> str:
        return str(claim.task.key)

    @staticmethod
    def resolve_is_open(claim: Claim) -> bool:
        return bool(claim.is_open_now)


class ClaimFilters(PageParams, Filters):
    """Filters of claims. A claim must satisfy all of them."""

    task: list[FilterWord] | MISSING = list_filter_field("Id or key (WEB-12).")
    user: list[FilterWord] | MISSING = list_filter_field("`me`, an id or `@handle`.")
    open: StrictBool | MISSING = Field(
        MISSING, description="`true`: claims that hold their task now; `false`: all others."
    )


class ClaimListResponse(ListResponse[ClaimResponse]):
    """A page of the list of claims."""
