"""Read the filters of a list: resolve keys and handles to ids, and days to times.

read_filters() returns the values, and conditions.apply_filters() selects rows by them. A list
compiles its query once, with parameters in place of the values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING, TypeVar, cast

from django.db.models import QuerySet
from django.utils import timezone

from accounts.models import Tenant
from taskflow.audit.actor import Actor
from taskflow.db.text import fold, fold_key
from taskflow.http.errors import Invalid
from taskflow.http.filtering import (
    EXCLUSION_SUFFIX,
    MAX_FILTER_VALUES,
    ChangeFilters,
    NameFilters,
)
from taskflow.http.json_filters import JSON_FILTERS, JsonCondition
from taskflow.http.paging import NO_FILTERS, FilterValues
from taskflow.http.references import describe_unknown
from taskflow.http.schema import In, RelativeDay
from tasks.actions.tags import find_tags
from tasks.models import Project, ProjectStatus, Tag, Task
from tasks.queries.changed_since import find_changes_since
from tasks.queries.conditions import ProjectRef, SearchFilter, apply_filters
from tasks.queries.lookup import (
    PROJECT_KEY_PATTERN,
    find_project_id_by_any_key,
    find_project_ids,
    find_task_id_by_any_key,
    find_task_ids,
    find_user_ids,
    is_visible_row,
    project_lookup,
    read_id,
)
from tasks.queries.search import build_condition, build_exclusions, read_query
from tasks.queries.views import VIEW, add_view_filters, load_view, refuse_view

if TYPE_CHECKING:
    from tasks.schemas.task_filters import TaskWhere

# The columns to sort by, by the names that the parameter `sort` accepts.
T = TypeVar("T")
TASK_SORTS = {
    "created_at": "created_at",
    "updated_at": "updated_at",
    "last_activity_at": "last_activity_at",
    "due_date": "due_date",
    "due_on": "due_on",
    "due": "due",
    "priority": "priority_rank",
    "title": "title_folded",
    "number": "number",
}
PAGE_SORTS = {"title": "title_folded"} | {
    n: n for n in ("created_at", "updated_at", "published_at")
}
PROJECT_SORTS = {"name": "name_folded"} | {n: n for n in ("key", "created_at", "updated_at")}
NULLABLE_USERS = {"assignee", "created_by", "author"}  # an operator creates rows without a user
FILTERS_OF_ARCHIVED = {"project", "project_status", "project_status_not", "parent"}


def filter_tasks(actor: Actor, rows: QuerySet[Task], where: TaskWhere) -> QuerySet[Task]:
    """Return the rows that satisfy the filters.

    Raises Invalid for a project, user or task that the actor cannot see.
    """
    return apply_filters(rows, read_filters(actor, where))


def select_tasks_to_change(actor: Actor, rows: QuerySet[Task], where: TaskWhere) -> QuerySet[Task]:
    """Return the rows that satisfy the filters, for a change of all of them.

    Raises the errors of read_filters_of_change().
    """
    return apply_filters(rows, read_filters_of_change(actor, rows, where))


def read_filters_of_change(actor: Actor, rows: QuerySet[Task], where: TaskWhere) -> FilterValues:
    """Return the values of filters that select tasks of `rows` for a change.

    Raises Invalid for a project, user or task that the actor cannot see, and for an excluded tag or
    reference that does not exist: if it is misspelled, the tasks to exclude would be changed.
    """
    values = leave_out_archived(read_filters(actor, where))
    sent = where.sent_fields()
    excluded = {name: sent[name] for name in ("tag_not", "tag_all_not") if name in sent}
    names = [tag for tags in excluded.values() for tag in tags]
    ids = find_tags(names, Tag.objects.visible_to(actor.viewer)) if names else {}
    for parameter, tags in excluded.items():
        for tag in tags:
            _get_id(ids, fold_key(tag), parameter, f"There is no tag “{tag}” to exclude.")
    if refs := sent.get("external_ref_not"):
        tasks = rows.filter(external_ref__in=refs).only("external_ref")
        present = {str(task.external_ref): task for task in tasks}
        for ref in refs:
            sentence = f"No task has the external_ref “{ref}” to exclude."
            _get_id(present, ref, "external_ref_not", sentence)
    return values


def leave_out_archived(values: FilterValues) -> FilterValues:
    """Return filters of tasks across projects, without the tasks of archived projects.

    Filters that name a project, the status of one, or a parent select such tasks too.
    """
    if values.keys() & FILTERS_OF_ARCHIVED:
        return values
    return {**values, "project_status_not": (ProjectStatus.ARCHIVED.value,)}


# ---- from query parameters to values ------------------------------------------------------------


def read_filters(
    actor: Actor, filters: In, *, defer_project_lookup: bool = False
) -> dict[str, object]:
    """Return the values of the filters that were sent, with ids for keys and times for days.

    Costs at most one query each for projects, users and tasks, and two for search words that are
    the key of a task or for `updated_since` of tasks. Raises Invalid for one that the
    actor cannot see. With `defer_project_lookup`, a single project is not looked up but returned as
    a ProjectRef. A row in the list then proves that the project is visible; if the list is empty,
    the caller must call check_project().
    """
    values: dict[str, object] = {}
    of_view: FilterValues = {}
    sent = {name: value for name, value in filters.sent_fields().items() if name not in NO_FILTERS}
    _check_number_of_values(sent)
    for name, value in sent.items():
        if name == "project" and defer_project_lookup and (ref := _parse_project_ref(value)):
            values[name] = ref
        elif isinstance(value, list):
            read = READERS.get(name.removesuffix(EXCLUSION_SUFFIX), _as_text)
            values[name] = tuple(read(actor, name, value))
        elif name == "q" and isinstance(filters, NameFilters):
            values[name] = fold(value)
        elif name == "q":
            task_id = find_task_id_by_any_key(value)
            values[name] = SearchFilter(build_condition(read_query(value)), task_id)
        elif name == "q_not":
            values[name] = build_exclusions(read_query(value, name))
        elif name == "updated_since" and isinstance(filters, ChangeFilters):
            missing_until = actor.tenant.events_missing_until
            # Older changes of tags and projects are not known any more, so all tasks are listed.
            if missing_until is None or value > missing_until:
                values[name] = find_changes_since(value)
        elif name == VIEW:
            of_view = _read_view(actor, cast("TaskWhere", filters), value)
        elif name == "overdue":
            now = timezone.now()
            values[name] = (value, now, actor.tenant.day_of(now))
        elif name.endswith("_before"):
            day = _as_day(actor.tenant, value)
            values[name] = (_start_of(actor.tenant, day), _day_of(actor.tenant, day))
        elif name.endswith("_after"):
            day = _as_day(actor.tenant, value)
            values[name] = (_end_of(actor.tenant, day), _day_of(actor.tenant, day))
        else:
            values[name] = value
    return add_view_filters(values, of_view)


def _read_view(actor: Actor, where: TaskWhere, view_id: int) -> FilterValues:
    """Return the values of the filters of a stored view. One query beside those of its filters.

    Raises Invalid, naming `view`, for a view that the actor cannot see, and for one that names what
    does not exist or is not visible.
    """
    view = load_view(actor, view_id)
    try:
        return read_filters(actor, where.read_stored(view.where))
    except Invalid as problem:
        raise refuse_view(view, problem) from None


def check_project(actor: Actor, values: FilterValues) -> FilterValues | None:
    """Check the single project that the filters of an empty list name.

    Return the filters with its id if they name it by a former key, otherwise None. One query, three
    for a former key. Raises Invalid for a project that the actor cannot see.
    """
    project = values.get("project")
    if not isinstance(project, ProjectRef):
        return None
    ref = str(project.id or project.key)
    if is_visible_row(actor, Project, **project_lookup(ref)):
        return None
    pk = None if project.id else find_project_id_by_any_key(ref)
    if pk is None or not is_visible_row(actor, Project, pk=pk):
        raise Invalid.parameter("project", describe_unknown("project", ref), "unknown_reference")
    return {**values, "project": ProjectRef(pk, None)}


def _parse_project_ref(refs: list[str]) -> ProjectRef | None:
    """Return the only project of the filter by id or key; None for several or for other text."""
    if len(refs) != 1:
        return None
    number = read_id(refs[0])
    is_key = number is None and PROJECT_KEY_PATTERN.fullmatch(refs[0])
    return ProjectRef(number, refs[0].upper() if is_key else None) if number or is_key else None


def _check_number_of_values(sent: Mapping[str, object]) -> None:
    numbers = {name: len(value) for name, value in sent.items() if isinstance(value, list)}
    for name in JSON_FILTERS & sent.keys():
        conditions = cast(tuple[JsonCondition, ...], sent[name])
        numbers[name] = sum(condition.count_values() for condition in conditions)
    if sum(numbers.values()) > MAX_FILTER_VALUES:
        longest = max(numbers, key=lambda name: numbers[name])
        sentence = (
            f"All filters together take {MAX_FILTER_VALUES} values at most. Send fewer at once."
        )
        raise Invalid.parameter(longest, sentence, "too_many")


def _as_text(actor: Actor, name: str, values: list[str]) -> list[str]:
    """Return the values as they are: names of an enumeration, or free text."""
    return [str(value) for value in values]


def _fold_names(actor: Actor, name: str, values: list[str]) -> list[str]:
    """Return the names in the form in which they are compared."""
    return [fold_key(value) for value in values]


def _as_day(tenant: Tenant, value: date | RelativeDay) -> date:
    """Return a day or time as it is, and for one that is counted from today the tenant's day."""
    return value.after(tenant.day_of(timezone.now())) if isinstance(value, RelativeDay) else value


def _start_of(tenant: Tenant, value: date) -> datetime:
    """Return a time as it is, and for a day of the tenant its first moment."""
    return value if isinstance(value, datetime) else tenant.start_of(value)


def _end_of(tenant: Tenant, value: date) -> datetime:
    """Return a time as it is, and for a day of the tenant its last microsecond."""
    return value if isinstance(value, datetime) else tenant.end_of(value)


def _day_of(tenant: Tenant, value: date) -> date:
    """Return a day as it is, and for a time the tenant's day that contains it."""
    return tenant.day_of(value) if isinstance(value, datetime) else value


def read_projects(actor: Actor, name: str, refs: list[str]) -> list[int]:
    """Return the ids of projects that are given by id or key, in the given order.

    One query, and two more for former keys. Raises Invalid, naming the parameter `name`, for a
    project that the actor cannot see.
    """
    ids = find_project_ids(actor, refs)
    return [_get_id(ids, ref, name, describe_unknown("project", ref)) for ref in refs]


def read_users(actor: Actor, name: str, refs: list[str]) -> list[int | None]:
    """Return the ids of users that are given as `me`, by id or by `@handle`, and None for `none`.

    At most one query. Raises Invalid, naming the parameter `name`, for a user that the actor cannot
    see. Only filters by a user that a row may lack take `none`.
    """
    ids: dict[str, int | None] = {}
    if name.removesuffix(EXCLUSION_SUFFIX) in NULLABLE_USERS:
        ids["none"] = None
    ids |= find_user_ids(actor, [ref for ref in refs if ref not in ids])
    return [_get_id(ids, ref, name, describe_unknown("user", ref)) for ref in refs]


def _read_tasks(actor: Actor, name: str, refs: list[str]) -> list[int]:
    """Return the ids of tasks that are given by id or key, in the given order."""
    ids = find_task_ids(actor, refs)
    return [_get_id(ids, ref, name, describe_unknown("task", ref)) for ref in refs]


def _get_id(ids: Mapping[str, T], ref: str, parameter: str, sentence: str) -> T:
    """Return ids[ref]. Raises Invalid with the sentence if there is none."""
    if ref not in ids:
        raise Invalid.parameter(parameter, sentence, "unknown_reference")
    return ids[ref]


def _parse_verbs(actor: Actor, name: str, texts: list[str]) -> list[tuple[str, str]]:
    """Return each verb, such as `task.completed`, as ("task", "completed")."""
    pairs = [(text.partition(".")[0], text.partition(".")[2]) for text in texts]
    if not all(all(pair) for pair in pairs):
        raise Invalid.parameter(name, "Write it as task.completed.")
    return pairs


# By filter: the function that resolves its values.
READERS: Mapping[str, Callable[[Actor, str, list[str]], Iterable[object]]] = {
    "project": read_projects,
    "assignee": read_users,
    "created_by": read_users,
    "owner": read_users,
    "user": read_users,
    "author": read_users,
    "parent": _read_tasks,
    "blocked_by": _read_tasks,
    "task": _read_tasks,
    "verb": _parse_verbs,
    "tag": _fold_names,
    "tag_all": _fold_names,
}
