"""Filters as conditions of a queryset.

The values may be parameters of a query that is compiled once. Therefore no function here reads a
value; filters.py resolves keys, handles and days before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial, reduce
from operator import and_, or_
from typing import Any, NamedTuple, TypeVar

from django.db.models import Exists, Model, OuterRef, Q, QuerySet
from django.db.models.functions import Lower

from taskflow.audit.models import Event
from taskflow.db.expressions import contains_text
from taskflow.db.json_values import HasJsonValue
from taskflow.http.filtering import EXCLUSION_SUFFIX
from taskflow.http.json_filters import JsonCondition
from taskflow.http.paging import FilterValues
from tasks.models import Claim, Comment, Page, Project, Status, Task, TaskBlocker, TaskTag
from tasks.models.claims import is_open
from tasks.models.tasks import is_blocked, is_ready, is_workable
from tasks.queries.changed_since import has_changed_since
from tasks.queries.search import Condition, matches
from tasks.queries.views import IN_VIEW

M = TypeVar("M", bound=Model)
FilterCondition = Callable[[Any], Q | Exists]  # each filter takes values of its own type


class ProjectRef(NamedTuple):
    """A filter's only project, by id or key as it was sent. It has not been looked up and may not
    exist.
    """

    id: int | None
    key: str | None


class SearchFilter(NamedTuple):
    """The search words of the filter `q`."""

    condition: Condition
    task_id: int | None  # of the task whose key the text is


def apply_filters(rows: QuerySet[M], filters: FilterValues) -> QuerySet[M]:
    """Return the rows that satisfy all filters. The values may be parameters of a query."""
    conditions = CONDITIONS[rows.model]
    for sent_name, value in filters.items():
        name = sent_name.removeprefix(IN_VIEW)
        if name in conditions:
            rows = rows.filter(conditions[name](value))
        else:
            rows = rows.exclude(conditions[name.removesuffix(EXCLUSION_SUFFIX)](value))
    return rows


def _in_project(value: ProjectRef | Sequence[object]) -> Q:
    if isinstance(value, ProjectRef):
        return Q(project=value.id) if value.key is None else Q(project__key=value.key)
    return Q(project__pk__in=value)


def _in_project_with_status(statuses: tuple[Any, ...]) -> Q:
    return Q(project__in=Project.objects.filter(status__in=statuses))


def _is_missing(field: str) -> FilterCondition:
    """Return a function from true or false to the condition that the field is null or not."""
    return lambda is_true: Q((f"{field}__isnull", is_true))


def _is_one_of(field: str, ids: Sequence[object]) -> Q:
    """Return the condition that the row refers to one of the ids, or to no row if None is among
    them.

    It compares `pk`, because a foreign key itself cannot be compared with a parameter.
    """
    present = [pk for pk in ids if pk is not None]
    is_one = Q((f"{field}__pk__in", present)) if present else Q(pk__in=[])
    return is_one | Q((f"{field}__isnull", True)) if None in ids else is_one


def _has_blocker(ids: Sequence[Any]) -> Q:
    """Return the condition that the task has one of these blockers.

    It selects the ids of such tasks, which are few, instead of testing each task.
    """
    return Q(pk__in=TaskBlocker.objects.filter(blocker__pk__in=ids).values("task_id"))


def _has_no_blocker(is_true: bool) -> Q:
    """Return the condition that the task has no blocker, or with False that it has one.

    Blockers in the trash do not count.
    """
    links = TaskBlocker.objects.filter(
        task=OuterRef("pk"),
        blocker__deleted_at__isnull=True,
        blocker__project__deleted_at__isnull=True,
    )
    return ~Q(Exists(links)) if is_true else Q(Exists(links))


def _is_never_due(is_true: bool) -> Q:
    never = Q(due_date__isnull=True, due_on__isnull=True)
    return never if is_true else ~never


def _is_overdue(values: tuple[bool, Any, Any]) -> Q:
    """Return the condition that an open task was due before a time, or on a day before its day.

    `values` are whether it is so, the time, and the tenant's day that contains it.
    """
    is_true, now, today = values
    if is_true:
        return ~Q(status=Status.DONE) & (Q(due_date__lt=now) | Q(due_on__lt=today))
    is_no_time_over = Q(due_date__isnull=True) | Q(due_date__gte=now)
    is_no_day_over = Q(due_on__isnull=True) | Q(due_on__gte=today)
    return Q(status=Status.DONE) | (is_no_time_over & is_no_day_over)


def _has_no_tag(is_true: bool) -> Q:
    links = Exists(TaskTag.objects.filter(task=OuterRef("pk")))
    return ~Q(links) if is_true else Q(links)


def _has_tag(names: Sequence[object]) -> Exists:
    """Return the condition that the task has one of the tags with these folded names."""
    return Exists(TaskTag.objects.filter(task=OuterRef("pk"), tag__name_folded__in=names))


def _has_all_tags(names: Sequence[object]) -> Q:
    """Return the condition that the task has all of these tags, without regard to case."""
    return reduce(and_, (Q(_has_tag([name])) for name in names))


def _contains_words(model: type[Model], words: SearchFilter) -> Q:
    """Return the condition that the row contains the words, or is the task whose key they are."""
    condition = matches(model, words.condition)
    if model is not Task or words.task_id is None:
        return condition
    return condition | Q(pk=words.task_id)


def _lacks_words(model: type[Model], exclusions: tuple[Condition, ...]) -> Q:
    return ~_any(matches(model, condition) for condition in exclusions)


def _has_metadata(conditions: Sequence[JsonCondition]) -> Q:
    """Return the condition that the metadata satisfies all of the conditions."""
    return reduce(and_, (Q(HasJsonValue("metadata", *condition)) for condition in conditions))


def _has_no_metadata(conditions: Sequence[JsonCondition]) -> Q:
    """Return the condition that the metadata satisfies none of the conditions."""
    return ~_any(Q(HasJsonValue("metadata", *condition)) for condition in conditions)


METADATA_CONDITIONS: Mapping[str, FilterCondition] = {
    "metadata": _has_metadata,
    "metadata_not": _has_no_metadata,
}


def _compare_time(field: str, lookup: str) -> FilterCondition:
    return lambda timestamp: Q((f"{field}__{lookup}", timestamp[0]))


def _times(*fields: str) -> dict[str, FilterCondition]:
    """Return the filters by time of these fields: `created_before`, `created_after` and so on."""
    names = {field: field.removesuffix("_at") for field in fields}
    return {
        "updated_since": lambda timestamp: Q(updated_at__gte=timestamp),
        **{f"{name}_before": _compare_time(field, "lt") for field, name in names.items()},
        **{f"{name}_after": _compare_time(field, "gt") for field, name in names.items()},
    }


CONDITIONS: Mapping[type[Model], Mapping[str, FilterCondition]] = {
    Task: {
        "q": partial(_contains_words, Task),
        "q_not": partial(_lacks_words, Task),
        "project": _in_project,
        "project_status": _in_project_with_status,
        "status": lambda values: Q(status__in=values),
        "outcome": lambda values: Q(outcome__in=values),
        "priority": lambda values: Q(priority__in=values),
        "assignee": partial(_is_one_of, "assignee"),
        "created_by": partial(_is_one_of, "created_by"),
        "tag": _has_tag,
        "tag_all": _has_all_tags,
        "tag_none": _has_no_tag,
        "parent": partial(_is_one_of, "parent"),
        "parent_none": _is_missing("parent"),
        "blocked_by": _has_blocker,
        "blocked_by_none": _has_no_blocker,
        "external_ref": lambda refs: Q(external_ref__in=refs),
        "external_ref_none": _is_missing("external_ref"),
        "ready": lambda is_true: is_ready() if is_true else ~is_workable() | Q(is_blocked()),
        "overdue": _is_overdue,
        "due_none": _is_never_due,
        # A task that is due on a day is due before a time if the whole day of the tenant is before
        # it.
        "due_before": lambda timestamp: Q(due_date__lt=timestamp[0]) | Q(due_on__lt=timestamp[1]),
        "due_after": lambda timestamp: Q(due_date__gt=timestamp[0]) | Q(due_on__gt=timestamp[1]),
        **METADATA_CONDITIONS,
        **_times("created_at", "updated_at", "completed_at"),
        "updated_since": has_changed_since,
    },
    Project: {
        "q": lambda text: contains_text(text, "name_folded", Lower("key")),
        "status": lambda values: Q(status__in=values),
        "owner": partial(_is_one_of, "owner"),
        **METADATA_CONDITIONS,
        **_times("created_at", "updated_at"),
    },
    Comment: {
        "q": partial(_contains_words, Comment),
        "q_not": partial(_lacks_words, Comment),
        "project": lambda ids: Q(task__project__pk__in=ids),
        "task": lambda ids: Q(task__pk__in=ids),
        "author": partial(_is_one_of, "author"),
        **_times("created_at", "updated_at"),
    },
    Page: {
        "q": partial(_contains_words, Page),
        "q_not": partial(_lacks_words, Page),
        "project": _in_project,
        "owner": partial(_is_one_of, "owner"),
        "is_published": lambda is_true: Q(is_published=is_true),
        **_times("created_at", "updated_at"),
    },
    Claim: {
        "task": lambda ids: Q(task__pk__in=ids),
        "user": partial(_is_one_of, "user"),
        "open": lambda is_true: is_open() if is_true else ~is_open(),
    },
    Event: {
        "of_task": lambda pk: Q(subject_type="task", subject_id=pk),
        "of_project": lambda pk: Q(project_id=pk),
        "verb": lambda pairs: _any(
            Q(subject_type=subject_type, verb=verb) for subject_type, verb in pairs
        ),
        "since": lambda timestamp: Q(created_at__gte=timestamp),
        "until": lambda timestamp: Q(created_at__lt=timestamp),
    },
}


def _any(conditions: Iterable[Q]) -> Q:
    return reduce(or_, conditions)
