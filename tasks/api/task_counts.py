"""Counts of the tasks that match filters, by a field."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from django.db.models import Count, F, Model, OuterRef, QuerySet, Subquery, Value
from django.http import HttpResponse

from accounts.models import User
from accounts.schemas.users import UserRef
from taskflow.audit.actor import ActorRequest
from taskflow.db.expressions import AsText
from taskflow.db.json import JsonBuilder
from taskflow.db.query import QueryCache
from taskflow.db.types import Row, SqlExpression
from taskflow.db.viewer import Viewer
from taskflow.http.paging import FilterValues
from taskflow.http.responses import respond
from taskflow.http.schema import Out
from taskflow.tenancy import with_tenant_parameter
from tasks.api.row_queries import select_tasks
from tasks.models import Project
from tasks.queries.filters import check_project, leave_out_archived, read_filters
from tasks.schemas.task_counts import (
    MAX_GROUPS,
    ProjectRef,
    TaskCount,
    TaskCountFilters,
    TaskGrouping,
)


class Reference(NamedTuple):
    """The rows that the groups of a foreign key refer to, and the schema that shows them."""

    model: type[Model]
    schema: type[Out]


REFERENCES = {
    TaskGrouping.ASSIGNEE: Reference(User, UserRef),
    TaskGrouping.PROJECT: Reference(Project, ProjectRef),
}
WITHOUT_VALUES = dict.fromkeys(TaskCount.model_fields)


def task_counts_response(request: ActorRequest, filters: TaskCountFilters) -> HttpResponse:
    """Respond with the number of tasks in each group, the largest group first. One statement.

    Raises Invalid for a filter that names no visible row.
    """
    actor = request.auth
    values = leave_out_archived(read_filters(actor, filters, defer_project_lookup=True))
    groups = _fetch_groups(actor.viewer, filters.group_by, values)
    if not groups and (checked := check_project(actor, values)):
        groups = _fetch_groups(actor.viewer, filters.group_by, checked)
    data = ",".join(_group_json(filters.group_by, *group) for group in groups[:MAX_GROUPS])
    rest = {"group_by": filters.group_by, "has_more": len(groups) > MAX_GROUPS}
    return respond(request, f'{{"data":[{data}],{json.dumps(rest)[1:]}')


def _fetch_groups(viewer: Viewer, grouping: TaskGrouping, filters: FilterValues) -> list[Row]:
    """Return rows of value, number of tasks and JSON of the related row; one row too many."""
    return GROUPS.fetch((grouping, tuple(filters)), viewer, tuple(filters.values()))


@with_tenant_parameter
def _select_groups(
    grouping: TaskGrouping, names: tuple[str, ...], viewer: Viewer, values: Sequence[object]
) -> QuerySet[Model, Row]:
    filters = dict(zip(names, values, strict=True))
    column = f"{grouping}_id" if grouping in REFERENCES else str(grouping)
    groups = select_tasks(viewer, filters).order_by().values(column).annotate(_count=Count("pk"))
    ordered = groups.order_by("-_count", F(column).asc(nulls_last=True))
    reference = ordered.annotate(_json=_reference_json(grouping, column))
    selected: QuerySet[Model, Row] = reference.values_list(column, "_count", "_json")
    return selected[: MAX_GROUPS + 1]


def _reference_json(grouping: TaskGrouping, column: str) -> SqlExpression:
    """Return the expression of the JSON of the row that a group refers to; null without one."""
    reference = REFERENCES.get(grouping)
    if reference is None:
        return Value("null")
    rows = reference.model._base_manager.filter(pk=OuterRef(column))
    return Subquery(rows.annotate(_ref=AsText(JsonBuilder(reference.schema).json())).values("_ref"))


GROUPS = QueryCache(_select_groups)


def _group_json(grouping: TaskGrouping, value: object, count: int, reference: str | None) -> str:
    """Return a TaskCount as JSON. A row that a group refers to is inserted as it is."""
    name = f"{grouping}_id" if grouping in REFERENCES else str(grouping)
    fields = WITHOUT_VALUES | {"count": count, name: value}
    parts = [f'"{field}":{json.dumps(content)}' for field, content in fields.items()]
    if grouping in REFERENCES:
        parts[list(fields).index(grouping)] = f'"{grouping}":{reference or "null"}'
    return f"{{{','.join(parts)}}}"
