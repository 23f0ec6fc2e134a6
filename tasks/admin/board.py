"""The board of tasks: columns by status or assignee, over the filters of the list.

A card is moved by dragging, or by its list of columns and a button. Both send the same form, and
the change is that of the API. Cards have no order of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.contrib import messages
from django.db.models import Count, F, Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from accounts.admin.recorded import get_actor
from accounts.models import User
from taskflow.audit.actor import Actor
from taskflow.http.converters import is_id
from taskflow.http.errors import NotFound
from tasks.admin.addresses import FilterArgument, list_address_of, narrow_where
from tasks.admin.task_page.base import find_refusal, show_refusal
from tasks.admin.task_pages import TaskPage
from tasks.changes import tasks as actions
from tasks.models import ProjectMember, Status, Task
from tasks.models.views import BoardGrouping, Layout
from tasks.queries.filters import read_projects
from tasks.queries.lookup import find_task

MAX_CARDS = 20  # of a column; a link leads to the others
MAX_PEOPLE = 8  # columns of assignees: those with the most open tasks, then other members
NOBODY = "none"
ORDER = (F("priority_rank").desc(), F("due").asc(nulls_last=True), "pk")


@dataclass(frozen=True)
class Column:
    """A column of the board, with its first cards."""

    value: str  # of the form that moves a card here
    title: str
    count: int
    tasks: list[Task]
    rest: int  # tasks that are not among the cards
    address: str  # of the list of all tasks of the column


@dataclass(frozen=True)
class Group:
    """What a column stands for: its value, title, tasks, and the filters that select them."""

    value: str
    title: str
    condition: Q
    filters: dict[str, FilterArgument]
    count: int


def board(request: HttpRequest) -> HttpResponse:
    """Show the board, or move one card and show it again."""
    page = TaskPage(request, Layout.BOARD)
    if page.problem is not None:
        return page.refuse()
    if request.method == "POST":
        _move(request)
        return HttpResponseRedirect(request.get_full_path())
    grouping = page.grouping()
    columns = _load_columns(page, grouping)
    context = page.context() | {
        "title": _("Board of tasks"),
        "columns": columns,
        "groupings": page.groupings(grouping),
    }
    return TemplateResponse(request, "admin/board.html", context)


# ---- columns ------------------------------------------------------------------------------------


def _load_columns(page: TaskPage, grouping: BoardGrouping) -> list[Column]:
    """Return the columns: one query for the counts, and one for the cards of each column.

    By assignee, one more for the users and those of _find_members(), and only open tasks are shown.
    """
    build: Callable[[TaskPage], list[Group]] = (
        _by_status if grouping == BoardGrouping.STATUS else _by_assignee
    )
    return [_build_column(page, group) for group in build(page)]


def _build_column(page: TaskPage, group: Group) -> Column:
    rows = page.tasks.filter(group.condition).select_related("project", "assignee")
    tasks = list(rows.order_by(*ORDER)[:MAX_CARDS]) if group.count else []
    return Column(
        group.value,
        group.title,
        group.count,
        tasks,
        group.count - len(tasks),
        list_address_of(narrow_where(page.where, group.filters)),
    )


def _by_status(page: TaskPage) -> list[Group]:
    rows = page.tasks.order_by().values_list("status").annotate(count=Count("pk"))
    counts: dict[str, int] = dict(rows)
    return [
        Group(
            status.value,
            str(status.label),
            Q(status=status),
            {"status": status.value},
            counts.get(status.value, 0),
        )
        for status in Status
    ]


def _by_assignee(page: TaskPage) -> list[Group]:
    rows = page.tasks.exclude(status=Status.DONE).order_by().values_list("assignee")
    counts = dict(rows.annotate(count=Count("pk")))
    first = sorted((pk for pk in counts if pk is not None), key=lambda pk: (-counts[pk], pk))
    shown = list(dict.fromkeys([*first, *_find_members(page)]))[:MAX_PEOPLE]
    people = User.objects.in_bulk(shown)
    is_open = ~Q(status=Status.DONE)
    nobody = Group(
        NOBODY,
        _("Nobody"),
        is_open & Q(assignee__isnull=True),
        {"assignee": NOBODY, "status_not": Status.DONE.value},
        counts.get(None, 0),
    )
    return [nobody] + [
        Group(
            str(pk),
            str(people[pk]),
            is_open & Q(assignee=pk),
            {"assignee": f"@{people[pk].handle}", "status_not": Status.DONE.value},
            counts.get(pk, 0),
        )
        for pk in shown
    ]


def _find_members(page: TaskPage) -> list[int]:
    """Return the ids of active members of the projects that the filters name, so that somebody
    without a task can get one. None without such a filter, or if the filters name people.

    At most MAX_PEOPLE, by handle. Two queries if there are projects.
    """
    stored: dict[str, list[str]] = page.view.where if page.view else {}
    query = QueryDict(page.where)
    names = query.getlist("project") or stored.get("project", [])
    if not names or "assignee" in query or "assignee" in stored:
        return []
    members = ProjectMember.objects.filter(
        project__in=read_projects(page.actor, "project", names), user__is_active=True
    )
    ids = members.order_by("user__handle").values_list("user", flat=True)
    return list(ids.distinct()[:MAX_PEOPLE])


# ---- moving a card ------------------------------------------------------------------------------


def _move(request: HttpRequest) -> None:
    """Change the status or the assignee of a task, or show why this is refused."""
    actor, sentences = get_actor(request), []

    def change() -> None:
        task = find_task(actor, request.POST.get("task", ""))
        sentences.append(_change(actor, task, request.POST.get("to", "")))

    if problem := find_refusal(change):
        show_refusal(request, problem)
    else:
        messages.success(request, sentences[0])


def _change(actor: Actor, task: Task, to: str) -> str:
    if to in Status.values:
        actions.update_task(actor, task, status=Status(to))
        return _("%(key)s is now: %(status)s.") % {"key": task.key, "status": Status(to).label}
    user = None if to == NOBODY else _find_user(to)
    actions.assign_task(actor, task, user)
    if user is None:
        return _("Nobody is assigned to %(key)s now.") % {"key": task.key}
    return _("%(key)s is assigned to %(user)s now.") % {"key": task.key, "user": user}


def _find_user(text: str) -> User:
    user: User | None = User.objects.filter(pk=text).first() if is_id(text) else None
    if user is None:
        raise NotFound(_("There is no such column. Load the board again."))
    return user
