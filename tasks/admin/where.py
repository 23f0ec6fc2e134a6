"""The filters of the list of tasks in the admin that links and stored views name.

The parameter `where` of the list has a query string of `GET /tasks` as its value. It is parsed by
the schema of the API and applied by its conditions, so that the list shows exactly the tasks that
the API returns for these filters.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

from django.contrib import admin
from django.db import models
from django.http import HttpRequest, QueryDict
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts.models import User
from taskflow.admin.site import TextFilter
from taskflow.audit.actor import Actor
from taskflow.http.converters import is_id
from taskflow.http.filtering import EXCLUSION_SUFFIX
from taskflow.http.paging import FilterValues
from taskflow.http.query_parameters import parse_query
from tasks.admin.addresses import WHERE, list_address_of, narrow_where
from tasks.models import Project, Task
from tasks.queries.conditions import apply_filters
from tasks.queries.filters import leave_out_archived, read_filters
from tasks.schemas.task_filters import TaskWhere

M = TypeVar("M", bound=models.Model)
LABELS = {  # of the filters whose names are not their words
    "q": _("words"),
    "q_not": _("without the words"),
    "ready": _("ready to start"),
    "due_none": _("without a due date"),
    "due_before": _("due before"),
    "due_after": _("due after"),
    "tag_all": _("with all tags"),
    "tag_none": _("without a tag"),
    "parent": _("subtask of"),
    "parent_none": _("top tasks only"),
    "blocked_by_none": _("without a blocker"),
    "external_ref_none": _("without an external id"),
    "updated_since": _("changed since"),
    "updated_after": _("changed after"),
    "updated_before": _("changed before"),
    "created_after": _("created after"),
    "created_before": _("created before"),
    "completed_after": _("completed after"),
    "completed_before": _("completed before"),
    "overdue": _("overdue"),
    "project_status": _("status of the project"),
}
CHOICE_FILTERS = ("status", "outcome", "priority")  # of the panel, named as those of GET /tasks
WORDS = {
    "true": _("yes"),
    "false": _("no"),
    "none": _("nobody"),
    "todo": _("to do"),
    "in_progress": _("in progress"),
    "done": _("done"),
    "completed": _("completed"),
    "cancelled": _("cancelled"),
    "low": _("low"),
    "medium": _("medium"),
    "high": _("high"),
    "me": _("me"),
}
TYPED_TEXTS = ("q", "tag", "external_ref", "metadata")  # filters whose values are no such words


class WhereFilter(TextFilter):
    """Makes the list accept the parameter. TaskAdmin applies it."""

    title = "filters"
    parameter_name = WHERE

    def lookups(self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]) -> list[Any]:
        return []

    def queryset(
        self, request: HttpRequest, queryset: models.QuerySet[models.Model]
    ) -> models.QuerySet[models.Model]:
        return queryset


def apply_where(actor: Actor, tasks: models.QuerySet[Task], where: str) -> models.QuerySet[Task]:
    """Return the tasks that GET /tasks would return for this query string.

    Raises Invalid for filters that it would refuse.
    """
    return apply_filters(tasks, read_where(actor, where))


def read_where(actor: Actor, where: str) -> FilterValues:
    """Return the values of the filters of GET /tasks for this query string.

    Raises Invalid for filters that it would refuse.
    """
    return leave_out_archived(read_filters(actor, parse_query(where, TaskWhere)))


def add_panel_filters(actor: Actor, where: str, query: QueryDict) -> str:
    """Return `where` with the filters that the panel of the list has set in its address.

    So they can be stored in a view, and the board and the calendar show the same tasks. Where both
    have a filter of the same name, both apply, as in the list. A row that the user cannot see is
    left out. One query each for a project and an assignee.
    """
    for name in CHOICE_FILTERS:
        if value := query.get(f"{name}__exact"):
            where = _apply_both(where, name, [value])
    if project := _find_chosen(Project.objects.visible_to(actor.viewer), query, "project"):
        where = _apply_both(where, "project", [project.key, str(project.pk)])
    if user := _find_chosen(User.objects.visible_to(actor.viewer), query, "assignee"):
        names = [f"@{user.handle}", str(user.pk), *(["me"] if user.pk == actor.user.pk else [])]
        where = _apply_both(where, "assignee", names)
    return where


def _apply_both(where: str, name: str, value_names: list[str]) -> str:
    """Return `where` narrowed by a filter with one value, which GET /tasks takes by any of its
    names.

    If `where` has this filter without the value, no task matches both: its values are excluded too.
    """
    values = QueryDict(where).getlist(name)
    known = {value.casefold() for value in value_names}
    if values and known.isdisjoint(value.casefold() for value in values):
        return narrow_where(where, {name + EXCLUSION_SUFFIX: values})
    return narrow_where(where, {name: value_names[0]})


def _find_chosen(rows: models.QuerySet[M], query: QueryDict, name: str) -> M | None:
    pk = query.get(f"{name}__id__exact", "")
    return rows.filter(pk=pk).first() if is_id(pk) else None


class DescribedFilter(NamedTuple):
    """One filter of a list of tasks in words, with the address of the list without it."""

    label: str
    values: str
    address_without: str


def describe_where(where: str) -> list[DescribedFilter]:
    """Return the filters of a query string in words, in their order."""
    query = QueryDict(where)
    filters = []
    for name, values in query.lists():
        address = list_address_of(_without(query, name))
        filters.append(DescribedFilter(_label_of(name), _join(name, values), address))
    return filters


def _without(query: QueryDict, name: str) -> str:
    rest = query.copy()
    del rest[name]
    return rest.urlencode()


def _join(name: str, values: list[Any]) -> str:
    words = {} if name.startswith(TYPED_TEXTS) and not name.endswith("_none") else WORDS
    texts = [str(words.get(str(value), value)) for value in values]
    return gettext(" or ").join(texts)


def _label_of(name: str) -> str:
    """Return the name of a filter as words: `status_not` is “status is not”."""
    if name in LABELS:
        return str(LABELS[name])
    base = name.removesuffix(EXCLUSION_SUFFIX)
    words = str(LABELS[base]) if base in LABELS else gettext(base.replace("_", " "))
    return gettext("%s is not") % words if name.endswith(EXCLUSION_SUFFIX) else words
