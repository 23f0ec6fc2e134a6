"""The rows that events are about, as people know them: with key, title and a link."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet
from django.urls import NoReverseMatch, reverse
from django.utils.html import format_html
from django.utils.translation import gettext

from taskflow.audit.actor import Actor
from taskflow.audit.resource_types import resource_types
from taskflow.db.query import QueryCache
from taskflow.db.statements import IdArray, IsInIds
from taskflow.db.viewer import Viewer
from taskflow.tenancy import with_tenant_parameter
from tasks.models import Comment, Page, Project, ProjectMember, Task

RowKey = tuple[str, int]  # the type and the id of a row, as events name it


@dataclass(frozen=True)
class Subject:
    """The name of a row, and the address of its page."""

    name: str
    address: str | None  # None for a row in the trash, which has no page


def find_subjects(actor: Actor, keys: Iterable[RowKey]) -> dict[RowKey, Subject]:
    """Return the rows that the actor can see, also those in the trash, by type and id.

    One query for each type. Rows that are gone or not visible, and types without a rule of who may
    see them, are left out.
    """
    ids_by_type: dict[str, set[int]] = defaultdict(set)
    for name, pk in keys:
        ids_by_type[name].add(pk)
    subjects = {}
    for name, ids in ids_by_type.items():
        for row in _load_visible(actor, name, ids):
            subjects[name, row.pk] = Subject(_name_row(row), _address_of(name, row))
    return subjects


def show_subject(subject: Subject | None, resource_type: str, row_id: int) -> str:
    """Return a row as HTML: its name with a link, or the type and the id of an unnamed one."""
    if subject is None:
        return f"{resource_type} {row_id}"
    if subject.address is None:
        return format_html("{} ({})", subject.name, gettext("in the trash"))
    link = '<a class="text-primary-600 underline dark:text-primary-500" href="{}">{}</a>'
    return format_html(link, subject.address, subject.name)


def _load_visible(actor: Actor, name: str, ids: set[int]) -> Iterable[Any]:
    resource_type = resource_types().get(name)
    if resource_type is None or not hasattr(resource_type.model._base_manager.all(), "visible_to"):
        return []
    return _subjects_query.fetch_objects((name,), actor.viewer, IdArray(tuple(sorted(ids))))


@with_tenant_parameter
def _select_subjects(name: str, viewer: Viewer, ids: IdArray) -> QuerySet[Any]:
    resource_type = resource_types()[name]
    model: Any = resource_type.model
    visible: QuerySet[Any] = model._base_manager.visible_to(viewer).filter(IsInIds("pk", ids))
    related = resource_type.select_related
    return visible.select_related(*related) if related else visible


_subjects_query: QueryCache[Any] = QueryCache(_select_subjects)


def _name_row(row: Any) -> str:
    if isinstance(row, Task):
        return f"{row.key} {row.title}"
    if isinstance(row, Project):
        return f"{row.key} {row.name}"
    if isinstance(row, Comment):
        return f"{row.task.key} {row.task.title}"
    if isinstance(row, Page):
        return f"{row.project.key} {row.title}"
    return f"{row.project.key} {row.user}" if isinstance(row, ProjectMember) else str(row)


def _address_of(name: str, row: Any) -> str | None:
    """Return the page of a row, of a comment the one of its task; None in the trash."""
    if getattr(row, "deleted_at", None) is not None:
        return None
    if isinstance(row, Comment):
        is_deleted = row.task.deleted_at is not None
        return None if is_deleted else reverse("admin:tasks_task_comments", args=[row.task_id])
    try:
        return reverse(f"admin:{row._meta.app_label}_{name}_change", args=[row.pk])
    except NoReverseMatch:  # a type without pages
        return None
