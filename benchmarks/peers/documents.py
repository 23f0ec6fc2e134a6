"""The bodies and responses of the peers, which are the same as TaskFlow's."""

from __future__ import annotations

import hashlib
from datetime import date, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator

from taskflow.db.text import fold_key, search_text, search_words

PAGE = 50
Status = Literal["todo", "in_progress", "done"]
Priority = Literal["low", "medium", "high"]
Title = Annotated[str, Field(min_length=1, max_length=500)]
# `metadata` in the document, `details` on the mapped row
Metadata = Annotated[
    dict[str, Any],
    Field(validation_alias=AliasChoices("details", "metadata"), serialization_alias="metadata"),
]


class In(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


class TaskCreate(In):
    project_id: int
    title: Title
    description: Annotated[str, Field(max_length=65_536)] = ""
    priority: Priority = "medium"
    assignee_id: int | None = None


class TaskUpdate(In):
    """Any subset. Null is a value for the assignee only."""

    title: Title = ""
    priority: Priority = "medium"
    status: Status = "todo"
    assignee_id: int | None = None

    def sent(self) -> dict[str, Any]:
        return self.model_dump(exclude_unset=True)


class CreateOperation(In):
    op: Literal["create"]
    data: TaskCreate


class UpdateOperation(In):
    op: Literal["update"]
    id: int
    data: TaskUpdate


Operation = Annotated[CreateOperation | UpdateOperation, Field(discriminator="op")]


class TaskBulk(In):
    """New tasks, or changes of different tasks. The peers do not mix them in one request."""

    operations: Annotated[list[Operation], Field(min_length=1, max_length=500)]

    @model_validator(mode="after")
    def check_kinds(self) -> Self:
        if len(self.created()) not in (0, len(self.operations)):
            raise ValueError("Send only creates, or only updates.")
        if len({update.id for update in self.updated()}) != len(self.updated()):
            raise ValueError("Change each task once.")
        return self

    def created(self) -> list[TaskCreate]:
        return [one.data for one in self.operations if isinstance(one, CreateOperation)]

    def updated(self) -> list[UpdateOperation]:
        return [one for one in self.operations if isinstance(one, UpdateOperation)]

    def counts(self) -> dict[int, int]:
        """How many tasks each project gets, in the order in which projects are to be locked."""
        ids = [task.project_id for task in self.created()]
        return {pk: ids.count(pk) for pk in sorted(set(ids))}


class Out(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class UserRef(Out):
    id: int
    handle: str
    full_name: str
    email: str | None
    kind: str
    responsible_id: int | None


class TagRef(Out):
    id: int
    name: str
    color: str | None


class TaskResponse(Out):
    id: int
    key: str
    number: int
    project_id: int
    title: str
    description: str
    status: Status
    outcome: str | None
    completed: bool
    ready: bool
    priority: Priority
    assignee_id: int | None
    assignee: UserRef | None
    created_by_id: int | None
    created_by: UserRef | None
    parent_id: int | None
    blocked_by: list[int]
    tags: list[TagRef]
    due_date: datetime | None
    due_on: date | None
    links: list[Any]
    metadata: Metadata
    external_ref: str | None
    version: int
    completed_at: datetime | None
    created_at: datetime
    updated_at: datetime
    last_activity_at: datetime


class TaskPage(Out):
    data: list[TaskResponse]
    next_cursor: str | None
    has_more: bool
    count: int | None = None


class TaskCounts(Out):
    todo: int = 0
    in_progress: int = 0
    done: int = 0
    cancelled: int = 0


class ProjectResponse(Out):
    id: int
    key: str
    name: str
    description: str
    status: str
    metadata: Metadata
    owner_id: int
    owner: UserRef
    role: str
    task_counts: TaskCounts
    version: int
    created_at: datetime
    updated_at: datetime


class ProjectPage(Out):
    data: list[ProjectResponse]
    next_cursor: str | None
    has_more: bool
    count: int | None = None


class BulkResult(Out):
    index: int
    ok: bool = True
    id: int
    key: str
    task: TaskResponse
    problem: None = None


class TaskBulkResponse(Out):
    succeeded: int
    skipped: int = 0
    tasks_left_out: int = 0
    results: list[BulkResult]


def read_token(text: str) -> tuple[int, str]:
    """The tenant that a token claims, and its digest: together the key of its row."""
    _, _, rest = text.partition("_")
    tenant, _, _ = rest.partition("_")
    digest = hashlib.sha256(text.encode()).hexdigest()
    return (int(tenant) if tenant.isdigit() else 0), digest


def searched(title: str, description: str) -> dict[str, str]:
    """Return the columns by which TaskFlow sorts and searches a new task."""
    return {
        "title_folded": fold_key(title),
        "title_words": search_text(title),
        "description_words": search_text(description),
    }


def text_query(tenant_id: int, words: str) -> str:
    """The tsquery that TaskFlow uses: each word of this tenant's, the last one as a beginning."""
    terms = [f"'{word}'" for word in search_words(words)]
    return " & ".join([f"'@{tenant_id}'", *terms]) + (":*" if terms else "")
