"""Many operations on tasks in one request."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import MISSING, AfterValidator, Field, ValidationError, WrapValidator, model_validator

from taskflow.http.parsing import problem_of_validation
from taskflow.http.schema import Id, In, Out
from tasks.models.tasks import MAX_TAGS
from tasks.schemas.tags import TagName
from tasks.schemas.tasks import TaskCreate, TaskMove, TaskResponse, TaskUpdate, TaskWhere

MAX_OPERATIONS = 500
MAX_WHERES = 20  # each is a question of its own
Ref = Annotated[
    Id | Annotated[str, Field(min_length=1, max_length=30)],
    Field(description="A task's id or key (WEB-12)."),
]
Force = Annotated[bool, Field(description="Complete it whatever is open before or below it.")]


def _check_narrows(where: TaskWhere) -> TaskWhere:
    if not where.sent_fields():
        raise ValueError("names no filter, which would select all tasks. Give at least one")
    return where


Where = Annotated[TaskWhere, AfterValidator(_check_narrows)]


class Target(In):
    """One task by `id`, or all that `where` finds; at most 20 operations have a `where`."""

    id: Ref | MISSING = MISSING
    where: Where | MISSING = MISSING

    @model_validator(mode="after")
    def check_target(self) -> Self:
        if len(self.model_fields_set & {"id", "where"}) != 1:
            raise ValueError("give either id or where")
        return self


class TaskTags(In):
    tags: Annotated[list[TagName], Field(min_length=1, max_length=MAX_TAGS)]


class BulkAssignment(In):
    assignee_id: Id | None = Field(description="Null for nobody.")


class CreateOperation(In):
    op: Literal["create"]
    data: TaskCreate


class UpdateOperation(Target):
    op: Literal["update"]
    data: TaskUpdate
    force: Force = False


class CompleteOperation(Target):
    op: Literal["complete"]
    force: Force = False


class ReopenOperation(Target):
    op: Literal["reopen"]


class DeleteOperation(Target):
    op: Literal["delete"]


class MoveOperation(Target):
    op: Literal["move"]
    data: TaskMove


class AssignOperation(Target):
    op: Literal["assign"]
    data: BulkAssignment


class TagOperation(Target):
    op: Literal["tag"]
    data: TaskTags


class UntagOperation(Target):
    op: Literal["untag"]
    data: TaskTags


def _or_problem(value: Any, validate: Any) -> Any:
    """One bad operation must not keep the others from being done when errors don't stop them."""
    try:
        return validate(value)
    except ValidationError as error:
        found = [
            {**e, "loc": ("body", "body", *e["loc"][1:])}  # without the member of the union
            for e in error.errors(include_url=False)
        ]
        return problem_of_validation(found)


Operation = Annotated[
    CreateOperation
    | UpdateOperation
    | CompleteOperation
    | ReopenOperation
    | DeleteOperation
    | MoveOperation
    | AssignOperation
    | TagOperation
    | UntagOperation,
    Field(discriminator="op"),
    WrapValidator(_or_problem),
]


class OnError(StrEnum):
    ABORT = "abort"
    CONTINUE = "continue"


class TaskBulk(In):
    operations: Annotated[list[Operation], Field(min_length=1, max_length=MAX_OPERATIONS)]
    on_error: OnError = Field(
        OnError.ABORT, description="`abort`: all or nothing. `continue`: what can be done is done."
    )


class BulkProblem(Out):
    status: int
    code: str
    detail: str
    errors: list[dict[str, object]]


class BulkResult(Out):
    index: int = Field(description="Of the operation, from 0.")
    ok: bool
    id: int | None = Field(description="The task's, also when it is gone now or was refused.")
    task: TaskResponse | None = Field(
        description="As it is at the end, in the last result for the task; null in those before it,"
        " when the operation was refused, and when the task is gone."
    )
    problem: BulkProblem | None


class TaskBulkResponse(Out):
    succeeded: int
    failed: int
    results: list[BulkResult]
