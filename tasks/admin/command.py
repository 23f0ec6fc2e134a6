"""What the search of the admin finds (⌘K): tasks, projects, pages, people, views and actions.

Every result is a row that the user may see. Words are searched as by the API.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.admin.recorded import get_actor
from accounts.models import User
from taskflow.admin.sites import is_open_to
from taskflow.audit.actor import Actor
from taskflow.db.expressions import contains_text
from taskflow.db.text import fold
from taskflow.http.errors import Invalid
from tasks.admin.addresses import list_address_of, write_where
from tasks.admin.tabs import USUAL, layout_address
from tasks.models import Project, View
from tasks.queries.lookup import find_task_id_by_any_key, read_id
from tasks.queries.search import Term, read_query
from tasks.queries.search_page import find_page

MAX_OF_KIND = 6  # results
MAX_TERM = 200  # characters; what comes after them is not searched


class Result(NamedTuple):
    """A line of the results."""

    title: str
    description: str
    link: str
    icon: str


ACTIONS = (
    (gettext_lazy("Quick add"), "admin:tasks_task_quick_add", "add_task"),
    (gettext_lazy("New task"), "admin:tasks_task_add", "add"),
    (gettext_lazy("New project"), "admin:tasks_project_add", "create_new_folder"),
    (gettext_lazy("Board of tasks"), "admin:tasks_task_board", "view_kanban"),
    (gettext_lazy("Calendar of tasks"), "admin:tasks_task_calendar", "calendar_month"),
    (gettext_lazy("Timeline of tasks"), "admin:tasks_task_timeline", "view_timeline"),
    (gettext_lazy("Keyboard shortcuts"), "admin:tasks_task_shortcuts", "keyboard"),
    (gettext_lazy("My account"), "admin_account", "person"),
)


def find_results(request: HttpRequest, text: str) -> list[Result]:
    """Return what the text finds, tasks first. At most eight queries.

    `text` is what somebody has typed, in any case.
    """
    actor, term = get_actor(request), text.strip()[:MAX_TERM]
    try:
        words = read_query(term)
    except Invalid:
        return []
    finders: list[Callable[[], Iterable[Result]]] = [
        lambda: _find_tasks(actor, term, words),
        lambda: _find_projects(actor, term),
        lambda: _find_pages(actor, words),
        lambda: _find_people(request, term),
        lambda: _find_views(actor, term),
        lambda: _find_actions(request, term),
    ]
    return [result for find in finders for result in find()]


def _find_tasks(actor: Actor, term: str, words: tuple[Term, ...]) -> Iterator[Result]:
    first_id = read_id(term) or find_task_id_by_any_key(term)
    tasks, _more = find_page(
        actor, words, ["task"], filters={}, first_task_id=first_id, limit=MAX_OF_KIND
    )
    for task in tasks:
        link = reverse("admin:tasks_task_change", args=[task.id])
        yield Result(f"{task.key} {task.title}", _("task"), link, "task_alt")


def _find_projects(actor: Actor, term: str) -> Iterator[Result]:
    rows: QuerySet[Project] = Project.objects.visible_to(actor.viewer)
    condition = contains_text(fold(term), "name_folded") | Q(key__iexact=term)
    for project in rows.filter(condition).order_by("name_folded")[:MAX_OF_KIND]:
        link = reverse("admin:tasks_project_change", args=[project.pk])
        yield Result(f"{project.key} {project.name}", _("project"), link, "folder")


def _find_pages(actor: Actor, words: tuple[Term, ...]) -> Iterator[Result]:
    pages, _more = find_page(actor, words, ["page"], filters={}, limit=MAX_OF_KIND)
    for page in pages:
        link = reverse("admin:tasks_page_change", args=[page.id])
        yield Result(page.title, _("page of %s") % page.project_key, link, "description")


def _find_people(request: HttpRequest, term: str) -> Iterator[Result]:
    """Yield users with the list of their open tasks."""
    rows = User.objects.visible_to(get_actor(request).viewer).filter(is_active=True)
    condition = contains_text(fold(term.removeprefix("@")), "full_name_folded", "handle")
    for user in rows.filter(condition).order_by("handle")[:MAX_OF_KIND]:
        where = write_where({"assignee": f"@{user.handle}", "status_not": "done"})
        title = f"@{user.handle} {user.full_name}".strip()
        yield Result(title, _("open tasks of this person"), list_address_of(where), "person")


def _find_views(actor: Actor, term: str) -> Iterator[Result]:
    rows: QuerySet[View] = View.objects.visible_to(actor.viewer)
    condition = contains_text(fold(term), "name_folded")
    for view in rows.filter(condition).order_by("name_folded")[:MAX_OF_KIND]:
        link = layout_address(view.layout, write_where({"view": view.pk}))
        yield Result(view.name, _("view"), link, "bookmark")


def _find_actions(request: HttpRequest, term: str) -> Iterator[Result]:
    folded = fold(term)
    for title, where in USUAL:
        if folded in fold(str(title)):
            yield Result(str(title), _("selection of tasks"), list_address_of(where), "list")
    for title, name, icon in ACTIONS:
        link = reverse(name)
        if folded in fold(str(title)) and is_open_to(request, link):
            yield Result(str(title), _("action"), link, icon)
