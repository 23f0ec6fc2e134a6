"""The schemas of the filters of tasks."""

from __future__ import annotations

from typing import Literal

from pydantic import MISSING, Field, StrictBool, ValidationError

from taskflow.http.fields import RowListParams
from taskflow.http.filtering import (
    ChangeFilters,
    list_filter_field,
    metadata_exclusion_field,
    metadata_filter_field,
    with_exclusions,
)
from taskflow.http.json_filters import JsonFilter
from taskflow.http.schema import (
    DayOrTimestamp,
    ExcludedWords,
    FilterWord,
    IdInQuery,
    SearchWords,
)
from taskflow.http.validation import problem_of_validation
from tasks.models import Outcome, Priority, ProjectStatus, Status
from tasks.schemas.tags import StoredTagName
from tasks.schemas.tasks import ExternalRef


@with_exclusions
class TaskWhere(ChangeFilters):
    """Filters of tasks. A task must satisfy all of them. If a filter has several values, one of
    them is enough. A filter whose name ends in `_not` excludes tasks: `status_not=done`.
    """

    view: IdInQuery | MISSING = Field(
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
