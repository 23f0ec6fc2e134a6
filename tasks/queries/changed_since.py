"""The tasks whose response has changed since a time, also because another row has changed.

The response of a task shows its tags, the key of its project and whether it is ready. Changes of
these rows write nothing to the task, since a tag may be on any number of tasks. They are found when
a list asks for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import reduce
from operator import or_
from typing import NamedTuple

from django.db.models import Model, Q, QuerySet, Subquery

from taskflow.audit.models import Event
from taskflow.db.page_query import IsInSubqueries
from taskflow.db.query import QueryCache
from taskflow.db.statements import IdArray, IsInIds
from taskflow.db.types import Row
from taskflow.tenancy import Changes, with_tenant_parameter
from tasks.models import ProjectStatus, Task, TaskBlocker, TaskTag

NO_ID = 0  # of no row
MAX_FEW = 5000  # changed tasks, which are sorted in a few milliseconds


class RelatedChanges(NamedTuple):
    """Rows whose changes are shown by other tasks, by id."""

    tags: IdArray  # renamed or recoloured
    tasks: IdArray  # that had a tag which was deleted
    projects: IdArray  # with another key, archived or reopened, in the trash or restored


class ChangedSince(NamedTuple):
    """The value of the filter `updated_since`.

    `related` is None if no other row has changed that a task shows. `is_few` is whether at most
    MAX_FEW tasks have changed themselves. These are found by their time and sorted. If there are
    more, reading all tasks in the order of the list fills a page soon.
    """

    time: datetime
    related: RelatedChanges | None
    is_few: bool


def find_changes_since(time: datetime) -> ChangedSince:
    """Return the value of `updated_since`. Three queries."""
    tags, tasks, projects = set(), set(), set()
    for subject_type, pk, verb, changes in RELATED_EVENTS.fetch((), time):
        if subject_type == "tag":
            # Of a tag that was deleted, or created again by an undo. A new tag has no tasks yet.
            tasks |= {task for ids in changes.get("tasks", ()) for task in ids or ()}
        if verb == "created":
            continue
        if subject_type == "tag":
            tags.add(pk)
        elif _is_shown_by_tasks(changes):
            projects.add(pk)
    related = RelatedChanges(*(IdArray(tuple(sorted(ids))) for ids in (tags, tasks, projects)))
    has_blocked = bool(BLOCKED_TASKS.fetch((), time, related.projects))
    is_any = tags or tasks or projects or has_blocked
    is_few = not FURTHER_CHANGES.fetch((MAX_FEW,), time)
    return ChangedSince(time, related if is_any else None, is_few)


def has_changed_since(value: ChangedSince) -> Q:
    """Return the condition that the response of a task has changed since the time.

    Names of users are not considered. Some tasks are selected although their response is the same,
    such as those whose blocker has another title.
    """
    own = Q(last_activity_at__gte=value.time)
    others = [*_affected(value.time, value.related)] if value.related else []
    if value.is_few:
        queries = [Task.objects.filter(own).values("pk"), *others]
        return Q(IsInSubqueries("pk", *(Subquery(query) for query in queries)))
    # Not as one array of ids: PostgreSQL would search all of it for each task.
    return reduce(or_, (Q(pk__in=query) for query in others), own)


def _affected(time: datetime, related: RelatedChanges) -> Iterator[QuerySet[Model, object]]:
    """Yield queries of the ids of tasks that show a changed row."""
    yield TaskTag.objects.filter(_is_in("tag", related.tags)).values("task_id")
    yield Task.objects.filter(_is_in("pk", related.tasks)).values("pk")
    yield Task.objects.filter(_is_in("project", related.projects)).values("pk")
    yield TaskBlocker.objects.filter(_has_changed_blocker(time, related.projects)).values("task_id")


def _has_changed_blocker(time: datetime, projects: IdArray) -> Q:
    """Return the condition, for a query of TaskBlocker, that the blocker or its project changed."""
    return Q(blocker__updated_at__gte=time) | _is_in("blocker__project", projects)


def _is_in(field: str, ids: IdArray) -> Q:
    """Return the condition that the field is one of the ids, which may be a parameter."""
    if not isinstance(ids, IdArray):
        return Q(IsInIds(field, ids))
    # Without any id Django would leave out the whole condition that contains this one.
    return Q((f"{field}__in", ids.values or (NO_ID,)))


def _is_shown_by_tasks(changes: Changes) -> bool:
    """Return whether tasks show these changes of their project: in `key`, in `ready`, or by being
    in lists at all.
    """
    is_archiving = ProjectStatus.ARCHIVED in changes.get("status", ())
    return is_archiving or not changes.keys().isdisjoint({"key", "deleted_at"})


@with_tenant_parameter
def _select_related_events(time: datetime) -> QuerySet[Event, Row]:
    """Select the changes of tags and projects since the time.

    They are found by the type of their subject: few events are about tags and projects.
    """
    events = Event.objects.filter(subject_type__in=("tag", "project"), created_at__gte=time)
    rows: QuerySet[Event, Row] = events.values_list("subject_type", "subject_id", "verb", "changes")
    return rows


@with_tenant_parameter
def _select_blocked(time: datetime, projects: IdArray) -> QuerySet[TaskBlocker, Row]:
    """Select one link to a blocker that has changed since the time, of a task that has not."""
    links = TaskBlocker.objects.filter(
        _has_changed_blocker(time, projects), task__last_activity_at__lt=time
    )
    rows: QuerySet[TaskBlocker, Row] = links.values_list("pk")[:1]
    return rows


@with_tenant_parameter
def _select_further(max_few: int, time: datetime) -> QuerySet[Task, Row]:
    """Select a task that has changed since the time, if there are more than `max_few` of them."""
    tasks = Task.objects.filter(last_activity_at__gte=time).order_by("last_activity_at")
    rows: QuerySet[Task, Row] = tasks.values_list("pk")[max_few : max_few + 1]
    return rows


RELATED_EVENTS = QueryCache(_select_related_events)
BLOCKED_TASKS = QueryCache(_select_blocked)
FURTHER_CHANGES = QueryCache(_select_further)
