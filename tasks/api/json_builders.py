"""How the database builds the JSON of each resource type."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from django.db.models import BooleanField, ExpressionWrapper, F, Model, OuterRef, Q, Subquery

from accounts.schemas.events import EventResponse
from taskflow.db.expressions import AsTimestampText, ConcatenatedText, JsonObject
from taskflow.db.json import JsonBuilder, JsonListBuilder
from taskflow.db.viewer import Viewer
from taskflow.http.schema import Out
from taskflow.tenancy import with_tenant_parameter
from tasks.models import Comment, Page, Project, ProjectMember, Status, Tag, Task, TaskCountDelta
from tasks.models.count_deltas import COUNTS
from tasks.models.tasks import is_ready
from tasks.schemas.comments import CommentResponse
from tasks.schemas.pages import PageResponse
from tasks.schemas.projects import ProjectResponse
from tasks.schemas.tags import TagRef
from tasks.schemas.tasks import TaskResponse


@with_tenant_parameter
def task_json_builder(viewer: Viewer) -> JsonBuilder:
    blockers = Task.objects.outside_trash().filter(blocking=OuterRef("pk")).order_by("pk")
    tags = Tag.objects.filter(tasks=OuterRef("pk")).order_by("name_folded", "id")
    return JsonBuilder(
        TaskResponse,
        without=("comments",),  # add_comments() adds them
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


JSON_BUILDERS: Mapping[type[Model], Callable[[Viewer], JsonBuilder]] = {
    Task: task_json_builder,
    Project: project_json_builder,
    Page: page_json_builder,
    Comment: comment_json_builder,
}
ROW_SCHEMAS: Mapping[type[Model], type[Out]] = {
    Task: TaskResponse,
    Project: ProjectResponse,
    Page: PageResponse,
    Comment: CommentResponse,
}
