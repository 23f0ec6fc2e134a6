"""The responses that the database builds as JSON, by queries that are compiled once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from django.db import connection
from django.db.models import (
    BooleanField,
    Exists,
    ExpressionWrapper,
    F,
    Model,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
)
from django.http import HttpResponse

from accounts.models import User
from accounts.schemas import EventResponse, list_undone_event_ids
from taskflow.audit.actor import Actor, ActorRequest
from taskflow.audit.history import read_history
from taskflow.audit.models import Event
from taskflow.db.expressions import AsTimestampText, ConcatenatedText, JsonObject
from taskflow.db.json import JsonBuilder, JsonListBuilder
from taskflow.db.page_query import Partitions
from taskflow.db.viewer import Viewer
from taskflow.http.errors import NotFound
from taskflow.http.paging import FilterValues, ListQuery, PageParams, read_sort
from taskflow.http.preferences import mark_applied, read_return_preference
from taskflow.http.responses import DetailQuery, respond, respond_with_detail
from taskflow.tenancy import with_tenant_parameter
from tasks.models import Comment, Page, Project, ProjectMember, Status, Tag, Task, TaskCountDelta
from tasks.models.count_deltas import COUNTS
from tasks.models.tasks import is_ready
from tasks.models.trash import TRASH_RETENTION, Trashable
from tasks.queries.conditions import ProjectRef, apply_filters
from tasks.queries.filters import (
    check_project,
    leave_out_archived,
    read_filters,
)
from tasks.queries.lookup import (
    find_project_id_by_any_key,
    find_task_id_by_any_key,
    project_lookup,
    task_lookup,
)
from tasks.queries.trash import count_deleted
from tasks.schemas.comments import CommentResponse
from tasks.schemas.pages import PageResponse
from tasks.schemas.projects import ProjectResponse
from tasks.schemas.tags import TagRef
from tasks.schemas.tasks import TaskResponse
from tasks.schemas.trash import DeletedRows, Deletion

# ---- JSON of the resource types ------------------------------------------------------------------


@with_tenant_parameter
def task_json_builder(viewer: Viewer) -> JsonBuilder:
    blockers = Task.objects.outside_trash().filter(blocking=OuterRef("pk")).order_by("pk")
    tags = Tag.objects.filter(tasks=OuterRef("pk")).order_by("name_folded", "id")
    return JsonBuilder(
        TaskResponse,
        key=ConcatenatedText(F("project__key"), F("number"), separator="-"),
        completed=_as_boolean(Q(status=Status.DONE)),
        ready=_as_boolean(is_ready()),
        # Given as an expression, it is part of the ETag: a comment does not change the version.
        last_activity_at=AsTimestampText(F("last_activity_at")),
        blocked_by=JsonListBuilder(blockers, "pk"),
        tags=JsonListBuilder(tags, JsonBuilder(TagRef)),
    )


@with_tenant_parameter
def project_json_builder(viewer: Viewer) -> JsonBuilder:
    mine = ProjectMember.objects.of_viewer(viewer).filter(project=OuterRef("pk"))
    return JsonBuilder(
        ProjectResponse,
        role=Subquery(mine.values("role")),
        task_counts=JsonObject(**{name: TaskCountDelta.total(name) for name in COUNTS}),
    )


def page_json_builder(viewer: Viewer) -> JsonBuilder:
    return JsonBuilder(PageResponse)


def comment_json_builder(viewer: Viewer) -> JsonBuilder:
    key = ConcatenatedText(F("task__project__key"), F("task__number"), separator="-")
    return JsonBuilder(CommentResponse, task_key=key)


def event_json_builder(viewer: Viewer) -> JsonBuilder:
    subject = JsonObject(type=F("subject_type"), id=F("subject_id"))
    verb = ConcatenatedText(F("subject_type"), F("verb"), separator=".")
    at = AsTimestampText(F("created_at"))
    added = ("sentence", "undoes")  # event_list_response() adds them
    return JsonBuilder(EventResponse, without=added, at=at, verb=verb, subject=subject)


def _as_boolean(condition: Q) -> ExpressionWrapper[Q]:
    return ExpressionWrapper(condition, BooleanField())


# ---- rows and lists -----------------------------------------------------------------------------


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


JSON_BUILDERS: Mapping[type[Model], Callable[[Viewer], JsonBuilder]] = {
    Task: task_json_builder,
    Project: project_json_builder,
    Page: page_json_builder,
    Comment: comment_json_builder,
}
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

PROJECT_STATUS_FILTERS = frozenset({"project_status", "project_status_not"})


@with_tenant_parameter
def _tasks_by_project(
    viewer: Viewer, filter_values: FilterValues, order: Sequence[str]
) -> Partitions | None:
    """Return the tasks partitioned by visible project, or None if the list is faster as a whole."""
    of_projects = {n: v for n, v in filter_values.items() if n in PROJECT_STATUS_FILTERS}
    of_tasks = {n: v for n, v in filter_values.items() if n not in of_projects}
    filter_names = {name.removesuffix("_not") for name in of_tasks}
    if _is_faster_as_a_whole(viewer, filter_names, is_by_id=order[0] in ("id", "-id")):
        return None
    projects = apply_filters(
        Project.objects.visible_to(viewer),
        {name.removeprefix("project_"): value for name, value in of_projects.items()},
    )
    return Partitions(projects, apply_filters(Task.objects.all(), of_tasks), "project")


def _is_faster_as_a_whole(viewer: Viewer, filter_names: set[str], *, is_by_id: bool) -> bool:
    """Whether reading all tasks in order is faster than reading the first ones of each project."""
    if is_by_id and connection.vendor == "postgresql":
        return True  # reading in the order of ids is fast as long as most tasks are visible
    if filter_names & INDEXED_FILTERS or (is_by_id and "updated_since" in filter_names):
        return True
    sees_everything = viewer.is_staff and viewer.project_ids is None
    return is_by_id and sees_everything and bool(filter_names - {"status"})


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


@with_tenant_parameter
def _events_query(viewer: Viewer, filter_values: FilterValues) -> QuerySet[Event]:
    """Select events; for a project, without events of drafts that the viewer cannot see."""
    rows = apply_filters(Event.objects.all(), filter_values)
    if "of_project" not in filter_values or viewer.is_staff:
        return rows
    pages = Page.everything.visible_to(viewer).filter(pk=OuterRef("subject_id"))
    return rows.filter(~Q(subject_type="page") | Q(Exists(pages)))


def _name_columns(field: str) -> list[str]:
    """Return the columns that _build_user() needs."""
    return [f"{field}_id", f"{field}__handle", f"{field}__full_name"]


EVENT_COLUMNS = ["subject_type", "verb", "operator_id", "changes", "undoes"]
EVENTS_QUERY = ListQuery(
    Event,
    _events_query,
    event_json_builder,
    extra_columns=[*EVENT_COLUMNS, *_name_columns("actor"), *_name_columns("on_behalf_of")],
)


# ---- responses ----------------------------------------------------------------------------------


def detail_response(request: ActorRequest, model: type[Model], **lookup: object) -> HttpResponse:
    """Respond with the visible row that `lookup` selects, by `pk` or by other columns.

    Raises NotFound.
    """
    return respond_with_detail(request, DETAIL_QUERIES[model], request.auth.viewer, lookup)


def project_response(request: ActorRequest, ref: str) -> HttpResponse:
    """Respond with the project that has this id or key, or had this key. Raises NotFound."""
    try:
        return detail_response(request, Project, **project_lookup(ref))
    except NotFound:
        pk = find_project_id_by_any_key(ref)
        if pk is None:
            raise
    return detail_response(request, Project, pk=pk)


def task_response(request: ActorRequest, ref: str) -> HttpResponse:
    """Respond with the task that has or had this key, or has this id.

    Raises NotFound.
    """
    try:
        return detail_response(request, Task, **task_lookup(ref))
    except NotFound:
        pk = find_task_id_by_any_key(ref)
        if pk is None:
            raise
    return detail_response(request, Task, pk=pk)


def updated_response(request: ActorRequest, row: Model, *, status: int = 200) -> HttpResponse:
    """Respond with a row that this request has created or changed, even if it is no longer visible.

    The query is the last of the request, so that the transaction is committed with it. The row
    cannot be missing, because this transaction holds its lock.
    """
    return respond_with_detail(
        request, UPDATED_QUERIES[type(row)], request.auth.viewer, {"pk": row.pk}, status=status
    )


def deleted_response(request: ActorRequest, row: Trashable) -> HttpResponse:
    """Respond to a request that has moved a row to the trash: 204 without a body.

    With `Prefer: return=representation` the status is 200, and the body says what else went along.
    """
    if read_return_preference(request) != "representation" or row.deleted_at is None:
        return HttpResponse(status=204)
    deletion = Deletion(
        deleted=DeletedRows(**count_deleted(row)),
        restorable_until=row.deleted_at + TRASH_RETENTION,
    )
    text = deletion.model_dump_json()
    return mark_applied(respond(request, text), "representation")


def updated_task_texts(actor: Actor, ids: Iterable[int]) -> dict[int, str]:
    """Return the JSON of tasks that this request has created or changed, by id.

    Tasks in the trash are left out.
    """
    return UPDATED_TASKS_QUERY.fetch_texts(actor.viewer, ids)


def list_response(
    request: ActorRequest,
    model: type[Model],
    filters: Any,
    *,
    sorts: Mapping[str, str] | None = None,
    order: Sequence[str] = ("-id",),
) -> HttpResponse:
    """Respond with a page of a list. Raises Invalid for a filter that names no visible row."""
    actor = request.auth
    filter_values: FilterValues = read_filters(actor, filters, defer_project_lookup=True)
    if model is Task:
        filter_values = leave_out_archived(filter_values)
    if sorts is not None:
        order = read_sort(filters.sort, default=order, allowed=sorts)
    page = LIST_QUERIES[model].page(actor.viewer, filter_values, filters, order)
    if page.is_empty and (values := check_project(actor, filter_values)):
        page = LIST_QUERIES[model].page(actor.viewer, values, filters, order)
    return respond(request, page.as_text())


def event_list_response(
    request: ActorRequest, filters: PageParams, **fixed_filters: int
) -> HttpResponse:
    """Respond with a page of events, each with its sentence.

    `fixed_filters` select the events: `of_task` or `of_project`, with an id.
    """
    actor = request.auth
    filter_values = fixed_filters | read_filters(actor, filters)
    page = EVENTS_QUERY.page(actor.viewer, filter_values, filters, ["-id"])
    events = [_build_event(*columns) for columns in page.extra_columns]
    added = [
        {"sentence": entry.sentence, "undoes": list_undone_event_ids(entry.event)}
        for entry in read_history(actor, events)
    ]
    rows = [f"{row[:-1]},{json.dumps(a)[1:]}" for row, a in zip(page.rows, added, strict=True)]
    return respond(request, replace(page, rows=rows).as_text())


def _build_event(*columns: Any) -> Event:
    """Return an event with the columns that its sentence depends on."""
    event = Event(**dict(zip(EVENT_COLUMNS, columns[:-6], strict=True)))
    event.actor, event.on_behalf_of = _build_user(*columns[-6:-3]), _build_user(*columns[-3:])
    return event


def _build_user(pk: int | None, handle: str, full_name: str) -> User | None:
    """Return a user with handle and name, or None if the id is null."""
    return None if pk is None else User(pk=pk, handle=handle, full_name=full_name)
