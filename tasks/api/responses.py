"""The responses with rows of all resource types, whose JSON the database builds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db.models import Model
from django.http import HttpResponse

from taskflow.audit.actor import Actor, ActorRequest
from taskflow.audit.feed import latest_cursor
from taskflow.db.viewer import Viewer
from taskflow.http.errors import NotFound
from taskflow.http.fields import PARTIAL_MEDIA_TYPE, TEXT_MEDIA_TYPE, RowParams, read_fields
from taskflow.http.paging import FilterValues, PageParams, read_sort
from taskflow.http.preferences import mark_applied, read_return_preference
from taskflow.http.query_parameters import read_query
from taskflow.http.responses import (
    Lookup,
    require_detail,
    respond,
    respond_minimally,
    respond_with_detail,
)
from tasks.api.json_builders import ROW_SCHEMAS
from tasks.api.lines import LINES, page_text
from tasks.api.row_queries import (
    DETAIL_QUERIES,
    LIST_QUERIES,
    UPDATED_QUERIES,
    UPDATED_TASKS_QUERY,
)
from tasks.models import Comment, Project, Task
from tasks.models.trash import TRASH_RETENTION, Trashable
from tasks.queries.filters import check_project, leave_out_archived, read_filters
from tasks.queries.lookup import (
    find_project_id_by_any_key,
    find_task_id_by_any_key,
    project_lookup,
    task_lookup,
)
from tasks.queries.trash import count_deleted
from tasks.queries.views import load_view
from tasks.schemas.comments import MAX_RECENT_COMMENTS
from tasks.schemas.task_filters import TaskWhere
from tasks.schemas.tasks import TaskParams
from tasks.schemas.trash import DeletedRows, Deletion


def detail_response(request: ActorRequest, model: type[Model], **lookup: object) -> HttpResponse:
    """Respond with the visible row that `lookup` selects, by `pk` or by other columns.

    The parameters `fields` and, for a task, `include` are read from the request. Raises NotFound,
    and Invalid for a wrong parameter.
    """
    if request.META.get("QUERY_STRING"):
        params = read_query(request, TaskParams if model is Task else RowParams)
        return _selected_response(request, model, lookup, params)
    return respond_with_detail(request, DETAIL_QUERIES[model], request.auth.viewer, lookup)


def _selected_response(
    request: ActorRequest, model: type[Model], lookup: Lookup, params: RowParams
) -> HttpResponse:
    """Respond with the parts of a row that the parameters select. Comments take a second query."""
    query, viewer = DETAIL_QUERIES[model], request.auth.viewer
    fields = read_fields(params.fields, ROW_SCHEMAS[model])
    has_comments = isinstance(params, TaskParams) and params.include == "comments"
    if fields is None:
        found = query.fetch(viewer, lookup, is_last=not has_comments)
    else:
        found = query.fetch_fields(viewer, lookup, fields, is_last=not has_comments)
    detail = require_detail(query, found)
    if has_comments:
        detail = detail.with_field("comments", _latest_comments(viewer, detail.id))
    media_type = PARTIAL_MEDIA_TYPE if fields else None
    return respond(request, detail.text, etag=detail.etag, media_type=media_type)


def _latest_comments(viewer: Viewer, task_id: int) -> str:
    """Return the RecentComments of a visible task as JSON. One query."""
    latest = PageParams(limit=MAX_RECENT_COMMENTS)
    page = LIST_QUERIES[Comment].page(viewer, {"task": (task_id,)}, latest, ["-id"])
    has_more = json.dumps(page.envelope["has_more"])
    return f'{{"data":[{",".join(reversed(page.rows))}],"has_more":{has_more}}}'


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
    cannot be missing, because this transaction holds its lock. With `Prefer: return=minimal` there
    is no query, and the response has no representation of the row.
    """
    query = UPDATED_QUERIES[type(row)]
    if read_return_preference(request) == "minimal":
        return respond_minimally(request, query.resource_type, row, status=status)
    return respond_with_detail(request, query, request.auth.viewer, {"pk": row.pk}, status=status)


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
        sort = filters.sort or (_sort_of_view(actor, filters) if model is Task else None)
        order = read_sort(sort, default=order, allowed=sorts)
    if filters.format == "text":
        fields: tuple[str, ...] | None = LINES[model].fields
    else:
        fields = read_fields(filters.fields, ROW_SCHEMAS[model])
    # Before the page, so that no change is after the page and before the cursor.
    cursor = latest_cursor() if filters.include == "cursor" else None
    page = LIST_QUERIES[model].page(actor.viewer, filter_values, filters, order, fields)
    if page.is_empty and (values := check_project(actor, filter_values)):
        page = LIST_QUERIES[model].page(actor.viewer, values, filters, order, fields)
    if cursor is not None:
        page.envelope["events_cursor"] = cursor
    if filters.format == "text":
        return respond(request, page_text(model, page), media_type=TEXT_MEDIA_TYPE)
    media_type = PARTIAL_MEDIA_TYPE if fields else None
    return respond(request, page.as_text(), media_type=media_type)


def _sort_of_view(actor: Actor, filters: TaskWhere) -> str | None:
    """Return the order of the view that the filters name, if any. One query if they name one."""
    view_id = filters.sent_fields().get("view")
    return load_view(actor, view_id).sort if view_id else None
