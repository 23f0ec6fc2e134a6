"""The one filter language: from a list's query parameters to rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any, TypeVar

from django.db.models import Exists, Model, OuterRef, Q, QuerySet, Value
from django.db.models.functions import Lower

from accounts.actor import Actor
from accounts.models import Event, User
from taskflow.errors import Invalid, NotFound
from tasks.actions.undo import MOST_EVENTS, places_of
from tasks.find import find_tasks, key_query, project_query, read_id
from tasks.models import Comment, Page, Project, Task, TaskBlocker, TaskTag
from tasks.search import matches, read_query

if TYPE_CHECKING:
    from tasks.schemas.comments import CommentFilters
    from tasks.schemas.pages import PageFilters
    from tasks.schemas.projects import ProjectFilters
    from tasks.schemas.tasks import TaskWhere
    from tasks.schemas.undo import UndoRequest

M = TypeVar("M", bound=Model)
TASK_SORTS = {
    "created_at": "created_at",
    "updated_at": "updated_at",
    "due_date": "due_date",
    "due_on": "due_on",
    "priority": "priority_rank",
    "title": "title",
    "number": "number",
}
PAGE_SORTS = {n: n for n in ("title", "created_at", "updated_at", "published_at")}
PROJECT_SORTS = {n: n for n in ("name", "key", "created_at", "updated_at")}


def filter_tasks(actor: Actor, rows: QuerySet[Task], wanted: TaskWhere) -> QuerySet[Task]:
    """Raises Invalid for a project, user or task that the actor cannot see."""
    rows = filter_projects_of(actor, rows, wanted.project, "project")
    rows = _narrow(rows, wanted.status, lambda values: Q(status__in=values))
    rows = _narrow(rows, wanted.priority, lambda values: Q(priority__in=values))
    rows = _narrow(rows, wanted.assignee, lambda refs: _is_user(actor, "assignee", refs))
    rows = _narrow(rows, wanted.created_by, lambda refs: _is_user(actor, "created_by", refs))
    rows = _narrow(rows, wanted.tag, _carries)
    rows = _narrow(rows, wanted.parent, lambda refs: _is_below(actor, refs))
    rows = _narrow(rows, wanted.blocked_by, lambda refs: _waits_for(actor, refs))
    rows = _narrow(rows, wanted.external_ref, lambda refs: Q(external_ref__in=refs))
    if wanted.ready is not None:
        rows = rows.ready() if wanted.ready else rows.not_ready()  # type: ignore[attr-defined]
    if wanted.due_before:
        rows = rows.due_before(wanted.due_before)  # type: ignore[attr-defined]
    if wanted.due_after:
        rows = rows.due_after(wanted.due_after)  # type: ignore[attr-defined]
    rows = _matching(rows, wanted.q)
    return _within(rows, wanted, "created_at", "updated_at", "completed_at")


def filter_projects(
    actor: Actor, rows: QuerySet[Project], wanted: ProjectFilters
) -> QuerySet[Project]:
    rows = _narrow(rows, wanted.status, lambda values: Q(status__in=values))
    rows = _narrow(rows, wanted.owner, lambda refs: _is_user(actor, "owner", refs))
    return _within(rows, wanted, "created_at", "updated_at")


def filter_projects_of(
    actor: Actor, rows: QuerySet[M], refs: list[str] | None, field: str
) -> QuerySet[M]:
    """Rows of the projects with these ids or keys; `field` leads to their project."""
    return _narrow(rows, refs, lambda named: Q((f"{field}__in", _project_ids(actor, named))))


def filter_comments(
    actor: Actor, rows: QuerySet[Comment], wanted: CommentFilters
) -> QuerySet[Comment]:
    rows = _narrow(rows, wanted.task, lambda refs: Q(task__in=_task_ids(actor, "task", refs)))
    rows = _narrow(rows, wanted.author, lambda refs: _is_user(actor, "author", refs))
    rows = _matching(rows, wanted.q)
    return _within(rows, wanted, "created_at", "updated_at")


def filter_pages(actor: Actor, rows: QuerySet[Page], wanted: PageFilters) -> QuerySet[Page]:
    rows = filter_projects_of(actor, rows, wanted.project, "project")
    rows = _narrow(rows, wanted.owner, lambda refs: _is_user(actor, "owner", refs))
    if wanted.is_published is not None:
        rows = rows.filter(is_published=wanted.is_published)
    rows = _matching(rows, wanted.q)
    return _within(rows, wanted, "created_at", "updated_at")


def choose_events(actor: Actor, wanted: UndoRequest) -> list[Event]:
    """The events to take back, of the projects that the actor sees, oldest first.

    Raises NotFound when there are none, or one that was named is not to be seen.
    """
    sent = wanted.sent()
    if "request_id" in sent:
        rows = Event.objects.filter(request_id=wanted.request_id)
    elif "event_ids" in sent:
        rows = Event.objects.filter(pk__in=sorted(set(sent["event_ids"])))
    else:
        rows = Event.objects.filter(_is_user(actor, "actor", [sent["actor"]]))
        rows = rows.filter(created_at__gte=sent["since"])
        if "until" in sent:
            rows = rows.filter(created_at__lt=sent["until"])
        if "project" in sent:
            rows = rows.filter(project_id__in=_project_ids(actor, [sent["project"]]))
    seen = Project.everything.visible_to(actor)
    found = list(rows.select_related("actor").order_by("pk")[: MOST_EVENTS + 1])
    places = {pk for event in found for pk in places_of(event)}
    hidden = places - set(seen.filter(pk__in=sorted(places)).values_list("pk", flat=True))
    found = [event for event in found if not hidden & set(places_of(event))]
    if not found or ("event_ids" in sent and len(found) < len(set(sent["event_ids"]))):
        raise NotFound("There is no such event.")
    return found


# ---- the language -------------------------------------------------------------------------------


def _narrow(
    rows: QuerySet[M], values: list[str] | None, question: Callable[[list[str]], Q | Exists]
) -> QuerySet[M]:
    """Rows that have one of the values, and none of those with `-` before them."""
    unwanted = [value[1:] for value in values or () if value.startswith("-")]
    if wanted := [value for value in values or () if not value.startswith("-")]:
        rows = rows.filter(question(wanted))
    return rows.exclude(question(unwanted)) if unwanted else rows


def _matching(rows: QuerySet[M], text: str | None) -> QuerySet[M]:
    """Those that hold the words, and the task whose key it is."""
    if not text:
        return rows
    wanted = matches(rows.model, read_query(text))
    return rows.filter(wanted | key_query(text) if rows.model is Task else wanted)


def _within(rows: QuerySet[M], wanted: Any, *fields: str) -> QuerySet[M]:
    """By `created_before`, `created_after` and so on: an instant, or a whole day of UTC."""
    for field in fields:
        name = field.removesuffix("_at")
        if before := getattr(wanted, f"{name}_before"):
            rows = rows.filter((f"{field}__lt", _start(before)))
        if after := getattr(wanted, f"{name}_after"):
            step = ("gt", after) if isinstance(after, datetime) else ("gte", _start(after, 1))
            rows = rows.filter((f"{field}__{step[0]}", step[1]))
    if wanted.updated_since:
        rows = rows.filter(updated_at__gte=wanted.updated_since)
    return rows


def _start(moment: date, days_later: int = 0) -> datetime:
    if isinstance(moment, datetime):
        return moment
    return datetime.combine(moment + timedelta(days=days_later), time.min, UTC)


# ---- what the values name -----------------------------------------------------------------------


def _project_ids(actor: Actor, refs: list[str]) -> list[int]:
    found = Project.objects.visible_to(actor).filter(_any(map(project_query, refs)))
    known = {str(name): pk for pk, key in found.values_list("pk", "key") for name in (pk, key)}
    return [_known(known, ref.upper(), "project", f"There is no project “{ref}”.") for ref in refs]


def _is_user(actor: Actor, field: str, refs: list[str]) -> Q:
    """`me`, `none`, an id or `@handle`."""
    named = [ref.lower() for ref in refs if ref not in ("me", "none")]
    known = {"me": actor.user.pk}
    if named:
        users = User.objects.visible_to(actor).filter(
            Q(pk__in=[read_id(ref) for ref in named if read_id(ref)])
            | Q(handle__in=[ref[1:] for ref in named if ref.startswith("@")])
        )
        for pk, handle in users.values_list("pk", "handle"):
            known |= {str(pk): pk, f"@{handle}": pk}
    is_one = Q(pk__in=[])
    if "none" in refs and field == "assignee":
        is_one, refs = Q((f"{field}__isnull", True)), [ref for ref in refs if ref != "none"]
    hint = "There is no user “{}”. Write me, an id or @handle."
    ids = [_known(known, ref.lower(), field, hint.format(ref)) for ref in refs]
    return is_one | Q((f"{field}__in", ids)) if ids else is_one


def _is_below(actor: Actor, refs: list[str]) -> Q:
    ids = _task_ids(actor, "parent", refs)
    return Q(parent__in=ids) | (Q(parent__isnull=True) if "none" in refs else Q(pk__in=[]))


def _waits_for(actor: Actor, refs: list[str]) -> Q:
    links = TaskBlocker.objects.filter(task=OuterRef("pk"))
    named = Exists(links.filter(blocker__in=_task_ids(actor, "blocked_by", refs)))
    return Q(named) | Q(~Exists(links)) if "none" in refs else Q(named)


def _task_ids(actor: Actor, parameter: str, refs: list[str]) -> list[int]:
    named = [ref for ref in refs if ref != "none"]
    known = {ref: task.pk for ref, task in find_tasks(actor, named).items()} if named else {}
    return [_known(known, ref, parameter, f"There is no task “{ref}”.") for ref in named]


def _carries(names: list[str]) -> Exists:
    """Tasks with one of these tags. An unknown name is no error: no task carries it yet."""
    folded = [Lower(Value(name)) for name in names]
    links = TaskTag.objects.annotate(folded=Lower("tag__name"))
    return Exists(links.filter(task=OuterRef("pk"), folded__in=folded))


def _known(known: Mapping[str, int], ref: str, parameter: str, sentence: str) -> int:
    if ref not in known:
        raise Invalid.parameter(parameter, sentence, "unknown_reference")
    return known[ref]


def _any(questions: Iterable[Q]) -> Q:
    return reduce(or_, questions)
