"""The queries of single rows and of lists, which are compiled once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from django.db import connection
from django.db.models import Model, QuerySet

from taskflow.db.page_query import Partitions
from taskflow.db.viewer import Viewer
from taskflow.http.list_query import ListQuery
from taskflow.http.paging import FilterValues
from taskflow.http.responses import DetailQuery
from taskflow.tenancy import with_tenant_parameter
from tasks.api.json_builders import JSON_BUILDERS, task_json_builder
from tasks.models import Project, Task
from tasks.queries.changed_since import ChangedSince
from tasks.queries.conditions import ProjectRef, apply_filters


@with_tenant_parameter
def _visible_rows_query(
    model: Any, viewer: Viewer, filter_values: FilterValues | None = None
) -> QuerySet[Model]:
    rows: QuerySet[Model] = model.objects.visible_to(viewer)
    return apply_filters(rows, filter_values) if filter_values else rows


@with_tenant_parameter
def _all_rows_query(model: Any, viewer: Viewer) -> QuerySet[Model]:
    rows: QuerySet[Model] = model._base_manager.all()
    return rows


@with_tenant_parameter
def _rows_outside_trash_query(model: Any, viewer: Viewer) -> QuerySet[Model]:
    rows: QuerySet[Model] = model.objects.all()
    return rows


DETAIL_QUERIES = {
    model: DetailQuery(model.__name__.lower(), partial(_visible_rows_query, model), build_json)
    for model, build_json in JSON_BUILDERS.items()
}
UPDATED_QUERIES = {
    model: DetailQuery(model.__name__.lower(), partial(_all_rows_query, model), build_json)
    for model, build_json in JSON_BUILDERS.items()
}
UPDATED_TASKS_QUERY = DetailQuery(
    "task", partial(_rows_outside_trash_query, Task), task_json_builder
)
# Filters that have an index of their own. With them, a list is not read per project.
INDEXED_FILTERS = frozenset(
    {"assignee", "created_by", "parent", "blocked_by", "external_ref", "project", "q"}
)
# Filters for which PostgreSQL reads the tasks in the order of the list.
UNINDEXED_FILTERS = frozenset({"status", "outcome", "priority"})
PROJECT_STATUS_FILTERS = frozenset({"project_status", "project_status_not"})


@with_tenant_parameter
def _tasks_by_project(
    viewer: Viewer, filter_values: FilterValues, order: Sequence[str]
) -> Partitions | None:
    """Return the tasks partitioned by visible project, or None if the list is faster as a whole."""
    of_projects = {n: v for n, v in filter_values.items() if n in PROJECT_STATUS_FILTERS}
    of_tasks = {n: v for n, v in filter_values.items() if n not in of_projects}
    filter_names = {name.removesuffix("_not") for name in of_tasks}
    changed = of_tasks.get("updated_since")
    if isinstance(changed, ChangedSince) and changed.is_few:
        return None
    if _is_faster_as_a_whole(viewer, filter_names, is_by_id=_is_by_id(order)):
        return None
    projects = apply_filters(
        Project.objects.visible_to(viewer),
        {name.removeprefix("project_"): value for name, value in of_projects.items()},
    )
    return Partitions(
        parents=projects,
        rows=apply_filters(Task.objects.all(), of_tasks),
        field="project",
        whole=_tasks_to_read_first(order),
    )


def _is_by_id(order: Sequence[str]) -> bool:
    return order[0] in ("id", "-id")


def _tasks_to_read_first(order: Sequence[str]) -> QuerySet[Model] | None:
    """Return all tasks for an order that PostgreSQL reads most of them in.

    Most of the latest tasks are visible to most users. Others need the tasks of each project.
    """
    if connection.vendor != "postgresql" or not _is_by_id(order):
        return None
    tasks: QuerySet[Model] = Task.everything.all()
    return tasks


def _is_faster_as_a_whole(viewer: Viewer, filter_names: set[str], *, is_by_id: bool) -> bool:
    """Whether reading all tasks in order is faster than reading the first ones of each project."""
    if filter_names & INDEXED_FILTERS:
        return True
    sees_everything = viewer.is_staff and viewer.project_ids is None
    if is_by_id and connection.vendor == "postgresql":
        return sees_everything or bool(filter_names - UNINDEXED_FILTERS)
    return is_by_id and sees_everything and bool(filter_names - {"status"})


@with_tenant_parameter
def select_tasks(viewer: Viewer, filter_values: FilterValues) -> QuerySet[Model]:
    """Return the visible tasks that match, in no order."""
    partitions = _tasks_by_project(viewer, filter_values, ["id"])
    if partitions is not None:
        return partitions.all_rows()
    return _visible_rows_query(Task, viewer, filter_values)


def _is_of_one_project(filter_values: FilterValues) -> bool:
    """Whether the list is one project's, whose indexes contain its tasks in every order."""
    filter_names = {name.removesuffix("_not") for name in filter_values} & INDEXED_FILTERS
    return filter_names == {"project"} and isinstance(filter_values.get("project"), ProjectRef)


LIST_QUERIES = {
    model: ListQuery(
        model,
        partial(_visible_rows_query, model),
        build_json,
        partitions=_tasks_by_project if model is Task else None,
        is_of_one_partition=_is_of_one_project if model is Task else None,
    )
    for model, build_json in JSON_BUILDERS.items()
}
