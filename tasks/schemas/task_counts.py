"""The schemas of counts of tasks by group."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from accounts.schemas.users import UserRef
from taskflow.http.schema import Out, RowId
from tasks.models import Outcome, Priority, Status
from tasks.schemas.task_filters import TaskWhere

MAX_GROUPS = 200  # in one response


class TaskGrouping(StrEnum):
    """The field by which tasks are grouped."""

    STATUS = "status"
    OUTCOME = "outcome"
    PRIORITY = "priority"
    ASSIGNEE = "assignee"
    PROJECT = "project"


class TaskCountFilters(TaskWhere):
    """The field to group by, and the filters of the list of tasks."""

    group_by: TaskGrouping = Field(description="The field by which the tasks are grouped.")


class ProjectRef(Out):
    """A project inside another response."""

    id: RowId
    key: str = Field(description="The key, such as WEB.")
    name: str = Field(description="The name.")


class TaskCount(Out):
    """How many tasks have one value of the field. The other fields are null."""

    count: int = Field(description="The number of tasks.")
    status: Status | None
    outcome: Outcome | None = Field(description="Null also stands for open tasks.")
    priority: Priority | None
    assignee_id: int | None = Field(description="The id of the assignee, or null.")
    assignee: UserRef | None = Field(description="Null also stands for tasks without assignee.")
    project_id: int | None = Field(description="The id of the project, or null.")
    project: ProjectRef | None


class TaskCountsResponse(Out):
    """How many tasks each group has."""

    group_by: TaskGrouping = Field(description="The field of each group that is in use.")
    data: list[TaskCount] = Field(
        description=f"The groups that have tasks, the largest first; at most {MAX_GROUPS}."
    )
    has_more: bool = Field(description="Whether there are more groups, all of them smaller.")
