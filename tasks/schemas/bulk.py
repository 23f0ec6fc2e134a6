"""The schemas of bulk requests: many operations on tasks at once."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import (
    MISSING,
    AfterValidator,
    Field,
    StrictBool,
    ValidationError,
    WrapValidator,
    model_validator,
)

from taskflow.http.references import TaskReference, WithReferences
from taskflow.http.schema import In, Out, example
from taskflow.http.validation import problem_of_validation
from tasks.models.tasks import MAX_TAGS
from tasks.schemas.tags import StoredTagName, TagName
from tasks.schemas.task_filters import TaskWhere
from tasks.schemas.tasks import (
    Assignee,
    AssigneeId,
    TaskCompletion,
    TaskCreate,
    TaskMove,
    TaskResponse,
    TaskUpdate,
)

MAX_OPERATIONS = 500
MAX_ERRORS = 20  # of a skipped operation in a response
MAX_WHERES = 20  # operations with a `where`; each costs a query
Force = Annotated[
    StrictBool,
    Field(
        description="Complete the task even if subtasks or blockers are open, and allow an open"
        " task below a done parent."
    ),
]


def _check_not_empty(where: TaskWhere) -> TaskWhere:
    if not where.sent_fields():
        raise ValueError("has no filter and would select all tasks. Send at least one filter")
    return where


Where = Annotated[
    TaskWhere,
    AfterValidator(_check_not_empty),
    Field(description="The filters of the list of tasks. At least one."),
]


class Target(In):
    """One task by `id`, or all tasks that `where` selects. At most 20 operations have a `where`."""

    id: TaskReference | MISSING = MISSING
    where: Where | MISSING = MISSING

    @model_validator(mode="after")
    def check_target(self) -> Self:
        if len(self.model_fields_set & {"id", "where"}) != 1:
            raise ValueError("Send either `id` or `where`.")
        return self


class TaskTags(In):
    """Names of tags to add."""

    tags: Annotated[
        list[TagName],
        Field(min_length=1, max_length=MAX_TAGS, description="The names.", examples=[["bug"]]),
    ]


class RemovedTags(In):
    """Names of tags to remove."""

    tags: Annotated[
        list[StoredTagName],
        Field(min_length=1, max_length=MAX_TAGS, description="The names.", examples=[["bug"]]),
    ]


class BulkAssignment(WithReferences):
    """The user to assign, or null for nobody. Send `assignee`, or `assignee_id`."""

    required_references = ("assignee",)

    assignee: Assignee | None | MISSING = MISSING
    assignee_id: AssigneeId | None | MISSING = MISSING


class CreateOperation(In):
    """Create a task."""

    op: Literal["create"] = Field(description="Always `create`.")
    data: TaskCreate = Field(description="The fields of the new task.")


class UpdateOperation(Target):
    """Change the fields in `data`."""

    op: Literal["update"] = Field(description="Always `update`.")
    data: TaskUpdate = Field(description="The fields to change.")
    force: Force = False


class CompleteOperation(Target):
    """Set the status to `done`, with the outcome in `data`."""

    op: Literal["complete"] = Field(description="Always `complete`.")
    data: TaskCompletion = Field(
        TaskCompletion(), description="The outcome; `completed` if it is absent."
    )
    force: Force = False


class ReopenOperation(Target):
    """Set the status of a done task to `todo`."""

    op: Literal["reopen"] = Field(description="Always `reopen`.")
    force: Force = False


class DeleteOperation(Target):
    """Move the task and its subtasks to the trash."""

    op: Literal["delete"] = Field(description="Always `delete`.")


class MoveOperation(Target):
    """Move the task and its subtasks to another project."""

    op: Literal["move"] = Field(description="Always `move`.")
    data: TaskMove = Field(description="Where to.")


class AssignOperation(Target):
    """Set or remove the assignee."""

    op: Literal["assign"] = Field(description="Always `assign`.")
    data: BulkAssignment = Field(description="The new assignee.")


class TagOperation(Target):
    """Add tags."""

    op: Literal["tag"] = Field(description="Always `tag`.")
    data: TaskTags = Field(description="The tags.")


class UntagOperation(Target):
    """Remove tags."""

    op: Literal["untag"] = Field(description="Always `untag`.")
    data: RemovedTags = Field(description="The tags.")


def _validate_or_return_problem(value: object, validate: Callable[[object], object]) -> object:
    """Return the validated operation, or the Problem of an invalid one.

    An invalid operation must not refuse the whole request: with `on_error: skip`, the other
    operations are carried out.
    """
    try:
        return validate(value)
    except ValidationError as error:
        return problem_of_validation(error, AnyOperation, root="The operation")


AnyOperation = (
    CreateOperation
    | UpdateOperation
    | CompleteOperation
    | ReopenOperation
    | DeleteOperation
    | MoveOperation
    | AssignOperation
    | TagOperation
    | UntagOperation
)
Operation = Annotated[
    AnyOperation,
    Field(discriminator="op"),
    WrapValidator(_validate_or_return_problem),
]


class OnError(StrEnum):
    """What happens when an operation is refused."""

    REFUSE = "refuse"
    SKIP = "skip"


class TaskBulk(In):
    """Operations on tasks, carried out together."""

    model_config = example(
        operations=[
            {"op": "create", "data": {"project": "WEB", "title": "Check all links"}},
            {"op": "assign", "id": "WEB-1", "data": {"assignee": "me"}},
            {
                "op": "tag",
                "where": {"project": ["WEB"], "status": ["todo"]},
                "data": {"tags": ["docs"]},
            },
        ]
    )

    operations: Annotated[
        list[Operation],
        Field(
            min_length=1,
            max_length=MAX_OPERATIONS,
            description="The operations. Those that create tasks are carried out first.",
        ),
    ]
    on_error: OnError = Field(
        OnError.REFUSE,
        description="`refuse`: if an operation is refused, the request is refused and nothing is"
        " changed. `skip`: the other operations are carried out, and the results say which were"
        " skipped and why.",
    )


class BulkProblem(Out):
    """Why an operation was skipped."""

    status: int = Field(description="The status that the operation alone would be answered with.")
    code: str = Field(description="The code of the problem, for programs.")
    detail: str = Field(description="A sentence for people that says what to do.")
    errors: list[dict[str, object]] = Field(
        description="The single errors, each with a `pointer` into the bulk request. At most 20."
    )
    errors_left_out: int = Field(description="The number of further errors.")


class BulkResult(Out):
    """The result of an operation. With `where` there is one for each selected task."""

    index: int = Field(description="The index of the operation, from 0.")
    ok: bool = Field(description="Whether the operation was carried out.")
    id: int | None = Field(
        description="The id of the task, even if it was deleted, or the operation was skipped. Null"
        " if there is no such task."
    )
    key: str | None = Field(
        description="The key of the task after the whole request. Null if `id` is null."
    )
    task: TaskResponse | None = Field(
        description="The task after the whole request. Only the last successful result for a task"
        " has it. Null in other results, which name the task by `id`, if the task is deleted, and"
        " if it is left out: see `tasks_left_out`."
    )
    problem: BulkProblem | None = Field(description="Why it was skipped; null if it was not.")


class TaskBulkResponse(Out):
    """The results of a bulk request."""

    succeeded: int = Field(description="The number of results that are ok.")
    skipped: int = Field(
        description="The number of results with a problem. Always 0 unless `on_error` is `skip`."
    )
    tasks_left_out: int = Field(
        description="The number of changed tasks that no result contains, because the tasks of one"
        " response have at most 4 MiB. Those of the last results are left out. Read them by `id`."
    )
    results: list[BulkResult] = Field(description="The results, in the order of the operations.")
