"""The schemas of bulk requests: many operations on tasks at once."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import MISSING, AfterValidator, Field, ValidationError, WrapValidator, model_validator

from taskflow.http.parsing import problem_of_validation
from taskflow.http.schema import Id, In, Out
from tasks.models.tasks import MAX_TAGS
from tasks.schemas.tags import TagName
from tasks.schemas.tasks import TaskCreate, TaskMove, TaskResponse, TaskUpdate, TaskWhere

MAX_OPERATIONS = 500
MAX_WHERES = 20  # operations with a `where`; each costs a query
Ref = Annotated[
    Id | Annotated[str, Field(min_length=1, max_length=30)],
    Field(description="A task's id or key (WEB-12)."),
]
Force = Annotated[
    bool,
    Field(
        description="Complete the task even if subtasks or blockers are open, and allow an open"
        " task below a done parent."
    ),
]


def _check_not_empty(where: TaskWhere) -> TaskWhere:
    if not where.sent_fields():
        raise ValueError("has no filter and would select all tasks. Send at least one filter")
    return where


Where = Annotated[TaskWhere, AfterValidator(_check_not_empty)]


class Target(In):
    """One task by `id`, or all tasks that `where` selects. At most 20 operations have a `where`."""

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
    assignee_id: Id | None = Field(description="Null: no assignee.")


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
    force: Force = False


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


def _validate_or_return_problem(value: object, validate: Callable[[object], object]) -> object:
    """Return the validated operation, or the Problem of an invalid one.

    An invalid operation must not refuse the whole request: with `on_error: continue`, the other
    operations are carried out.
    """
    try:
        return validate(value)
    except ValidationError as error:
        errors = [
            {**e, "loc": ("body", "body", *e["loc"][1:])}  # without the name of the union's member
            for e in error.errors(include_url=False)
        ]
        return problem_of_validation(errors)


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
    WrapValidator(_validate_or_return_problem),
]


class OnError(StrEnum):
    ABORT = "abort"
    CONTINUE = "continue"


class TaskBulk(In):
    operations: Annotated[list[Operation], Field(min_length=1, max_length=MAX_OPERATIONS)]
    on_error: OnError = Field(
        OnError.ABORT,
        description="`abort`: if an operation is refused, nothing is changed. `continue`: the other"
        " operations are carried out.",
    )


class BulkProblem(Out):
    status: int
    code: str
    detail: str
    errors: list[dict[str, object]]


class BulkResult(Out):
    index: int = Field(description="The index of the operation, from 0.")
    ok: bool
    id: int | None = Field(description="The id of the task, even if it was deleted or refused.")
    task: TaskResponse | None = Field(
        description="The task after the whole request. Only the last successful result for a task"
        " has it. Null in other results, and if the task is deleted."
    )
    problem: BulkProblem | None


class TaskBulkResponse(Out):
    succeeded: int
    failed: int
    results: list[BulkResult]
