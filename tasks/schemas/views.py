"""The schemas of stored views of tasks."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import date
from typing import Annotated

from pydantic import MISSING, AfterValidator, Field, JsonValue, StrictBool, WithJsonSchema

from accounts.schemas.users import UserRef
from taskflow.audit.actor import Actor
from taskflow.http.converters import is_id
from taskflow.http.errors import Invalid
from taskflow.http.filtering import EXCLUSION_SUFFIX
from taskflow.http.json_filters import JsonCondition
from taskflow.http.paging import ListResponse, PageParams, read_sort
from taskflow.http.schema import (
    CreatedAt,
    In,
    OneLine,
    Out,
    RelativeDay,
    RowId,
    UpdatedAt,
    Version,
    example,
)
from tasks.models.views import MAX_SORT, MAX_VIEW_NAME, BoardGrouping, Layout
from tasks.queries.filters import TASK_SORTS, read_filters
from tasks.schemas.task_filters import TaskWhere

# Filters whose values name rows. Stored ids would name other rows after an import.
WHERE_POINTER = "#/where/"  # in a body with a view
REFERENCES = frozenset({"project", "assignee", "created_by", "parent", "blocked_by"})


def _check_where(where: TaskWhere) -> TaskWhere:
    sent = where.sent_fields()
    if not sent:
        raise ValueError("has no filter. Send at least one, such as status_not: [done]")
    if "view" in sent:
        raise ValueError("names another view. Send the filters themselves")
    for name, values in sent.items():
        is_reference = name.removesuffix(EXCLUSION_SUFFIX) in REFERENCES
        if is_reference and any(is_id(value) for value in values):
            raise ValueError(f"has an id in “{name}”. Send a key or handle, as in WEB or @ada")
    dump_where(where)
    return where


def read_view_where(actor: Actor, where: TaskWhere) -> dict[str, JsonValue]:
    """Return the filters as they are stored.

    Costs what read_filters() does. Raises Invalid for a row that the actor cannot see.
    """
    try:
        read_filters(actor, where)
    except Invalid as problem:
        raise problem.with_pointers(WHERE_POINTER) from None
    return dump_where(where)


def dump_where(where: TaskWhere) -> dict[str, JsonValue]:
    """Return the filters as JSON, as they are stored. Raises ValueError for a key of the metadata
    that has a value and keys below it, which no object can have.
    """
    return {name: _dump_filter(value) for name, value in where.sent_fields().items()}


def _dump_filter(value: object) -> JsonValue:
    if isinstance(value, RelativeDay):
        return str(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list):
        return [str(item) for item in value]
    if isinstance(value, tuple):
        return _dump_conditions(value)
    return value if isinstance(value, bool | int) else str(value)


def _dump_conditions(conditions: Iterable[JsonCondition]) -> JsonValue:
    """Return the object of a filter by metadata."""
    root: dict[str, JsonValue] = {}
    for condition in conditions:
        node, (*keys, last) = root, condition.path
        for key in keys:
            below = node.setdefault(key, {})
            if not isinstance(below, dict):
                raise ValueError(f"has a value at “{key}” of the metadata, and keys below it")
            node = below
        if last in node:
            raise ValueError(f"has a value at “{last}” of the metadata, and keys below it")
        node[last] = json.loads(condition.values)
    return root


def _check_sort(text: str) -> str:
    try:
        read_sort(text, default=(), allowed=TASK_SORTS)
    except Invalid as problem:  # it names a parameter, and this is a field of a body
        raise ValueError(f"is no order of tasks. {problem.detail}") from None
    return text


ViewName = Annotated[
    str,
    Field(min_length=1, max_length=MAX_VIEW_NAME, description="One line.", examples=["My week"]),
    OneLine,
]
ViewWhere = Annotated[
    TaskWhere,
    AfterValidator(_check_where),
    Field(
        description="The filters of GET /tasks, at least one. Rows are named by keys and handles,"
        " not by ids; `me` is the user who reads the view."
    ),
]
ViewSort = Annotated[
    str,
    AfterValidator(_check_sort),
    Field(
        min_length=1,
        max_length=MAX_SORT,
        description="As `sort` of GET /tasks, as in `-priority,due`. Null: newest first.",
        examples=["-priority,due"],
    ),
]
StoredWhere = Annotated[
    dict[str, JsonValue],
    WithJsonSchema({"type": "object", "additionalProperties": True}),
    Field(
        description="The filters, by name, as in `where` of a bulk request.",
        examples=[{"assignee": ["me"], "status_not": ["done"]}],
    ),
]
SHARED = "Whether all users of the tenant see the view. They see their own tasks in it."
LAYOUT = "How the admin shows it."
GROUPING = "What the columns of its board and the groups of its timeline are."


class ViewResponse(Out):
    """A stored view of tasks."""

    id: RowId
    name: str = Field(description="One line.")
    owner_id: int = Field(description="The id of its owner.")
    owner: UserRef = Field(description="The user who may change it.")
    is_shared: bool = Field(description=SHARED)
    where: StoredWhere
    sort: str | None = Field(description="The order, as `sort` of GET /tasks; null: newest first.")
    layout: Layout = Field(description=LAYOUT)
    group_by: BoardGrouping = Field(description=GROUPING)
    version: Version
    created_at: CreatedAt
    updated_at: UpdatedAt


class ViewCreate(In):
    """A new view."""

    model_config = example(
        name="My week",
        where={"assignee": ["me"], "due_before": "7d", "status_not": ["done"]},
        sort="due",
    )

    name: ViewName
    where: ViewWhere
    is_shared: StrictBool = Field(False, description=SHARED)
    sort: ViewSort | None = None
    layout: Layout = Field(Layout.LIST, description=LAYOUT)
    group_by: BoardGrouping = Field(BoardGrouping.STATUS, description=GROUPING)


class ViewUpdate(In):
    """The fields to change. Fields that are absent stay as they are; `where` replaces all filters
    of the view.
    """

    model_config = example(layout="board", group_by="assignee")

    name: ViewName | MISSING = MISSING
    where: ViewWhere | MISSING = MISSING
    is_shared: StrictBool | MISSING = Field(MISSING, description=SHARED)
    sort: ViewSort | None | MISSING = MISSING
    layout: Layout | MISSING = Field(MISSING, description=LAYOUT)
    group_by: BoardGrouping | MISSING = Field(MISSING, description=GROUPING)


class ViewFilters(PageParams):
    """The pages of the list of views."""


class ViewListResponse(ListResponse[ViewResponse]):
    """A page of the list of views."""
