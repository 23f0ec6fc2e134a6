"""The charts of the first page, which the browser loads after it. Each bar leads to its tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise

from django.db.models import Count, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.admin.recorded import get_actor
from accounts.models import User
from taskflow.audit.actor import Actor
from taskflow.db.query import QueryCache
from taskflow.db.statements import IdArray, IsInIds
from taskflow.db.types import Row
from taskflow.db.viewer import Viewer
from taskflow.tenancy import with_tenant_parameter
from tasks.admin.addresses import list_address
from tasks.admin.home.sections import OPEN, load_my_projects
from tasks.models import Project, Task

DAYS = 14
SHOWN_PEOPLE = 10
FULL = 100  # percent


@dataclass(frozen=True)
class Bar:
    """A number of tasks, with the list of them. `percent` is its part of the longest bar."""

    label: str
    count: int
    address: str
    percent: int


@dataclass(frozen=True)
class Day:
    day: date
    bars: tuple[Bar, Bar]  # the tasks that were created, and those that were done


@dataclass(frozen=True)
class Progress:
    project: Project
    open: Bar
    percent_done: int


def show_charts(request: HttpRequest) -> HttpResponse:
    """Return the charts as a part of a page."""
    actor = get_actor(request)
    projects = load_my_projects(actor)
    context = {
        "days": load_days(actor, projects),
        "people": load_people(actor, projects),
        "progress": load_progress(actor, projects),
    }
    return TemplateResponse(request, "admin/home_charts.html", context)


def load_days(actor: Actor, projects: Sequence[Project]) -> list[Day]:
    """Return how many tasks were created and done on each of the last days. One query.

    It reads an entry of an index for each of these tasks.
    """
    today = actor.tenant.day_of(timezone.now())
    days = [today - timedelta(days=back) for back in reversed(range(DAYS))]
    starts = tuple(actor.tenant.start_of(day) for day in [*days, today + timedelta(days=1)])
    rows = _days_query.fetch((), actor.viewer, _ids_of(projects), starts)
    counts = [sum(of_projects) for of_projects in zip(*rows, strict=True)] or [0] * 2 * DAYS
    longest = max(counts)
    keys = [project.key for project in projects]
    return [
        Day(
            day,
            (
                _bar_of_day("created", _("new"), day, counts[n], longest, keys),
                _bar_of_day("completed", _("done"), day, counts[DAYS + n], longest, keys),
            ),
        )
        for n, day in enumerate(days)
    ]


@with_tenant_parameter
def _select_days(
    viewer: Viewer, ids: IdArray, starts: Sequence[datetime]
) -> QuerySet[Project, Row]:
    """Select a row for each project: first how many of its tasks were created on each of the days
    that these times limit, then how many were done on each.
    """
    projects = Project.objects.visible_to(viewer).filter(IsInIds("pk", ids)).order_by()
    rows: QuerySet[Project, Row] = projects.values_list(
        *(
            _count_tasks(Q((f"{column}__gte", start), (f"{column}__lt", end)))
            for column in ("created_at", "completed_at")
            for start, end in pairwise(starts)
        )
    )
    return rows


def _count_tasks(condition: Q) -> Coalesce:
    """Return the number of tasks of a project that satisfy the condition, for a query of projects.

    A condition of its own for each day is faster than groups: it is one range of an index.
    """
    tasks = Task.objects.filter(condition, project=OuterRef("pk")).order_by()
    counts = tasks.values("project").annotate(count=Count("*")).values("count")
    return Coalesce(Subquery(counts), Value(0))


_days_query: QueryCache[Project] = QueryCache(_select_days)


def _bar_of_day(name: str, label: str, day: date, count: int, longest: int, keys: list[str]) -> Bar:
    filters = {
        f"{name}_after": day - timedelta(days=1),
        f"{name}_before": day + timedelta(days=1),
    }
    return Bar(label, count, list_address(project=keys, **filters), _percent(count, longest))


def load_people(actor: Actor, projects: Sequence[Project]) -> list[Bar]:
    """Return how many open tasks those have who have most of them, and nobody. Two queries.

    The first reads an entry of an index for each open task of the projects.
    """
    counts: Counter[int | None] = Counter()
    for _project, pk, count in _people_query.fetch((), actor.viewer, _ids_of(projects)):
        counts[pk] += count
    rows = sorted(counts.items(), key=lambda row: (-row[1], row[0] or 0))[:SHOWN_PEOPLE]
    users = User.objects.in_bulk([pk for pk, _count in rows if pk is not None])
    keys = [project.key for project in projects]
    bars = []
    for pk, count in rows:
        label = str(users[pk]) if pk in users else _("Nobody")
        address = list_address(project=keys, status=OPEN, assignee="none" if pk is None else pk)
        bars.append(Bar(label, count, address, _percent(count, rows[0][1])))
    return bars


@with_tenant_parameter
def _select_people(viewer: Viewer, ids: IdArray) -> QuerySet[Task, Row]:
    """Select project, assignee and number of open tasks. In this order, an index has the groups."""
    projects = Project.objects.visible_to(viewer).filter(IsInIds("pk", ids))
    tasks = Task.objects.filter(project__in=projects, completed_at__isnull=True).order_by()
    groups = tasks.values("project", "assignee").annotate(count=Count("*"))
    rows: QuerySet[Task, Row] = groups.values_list("project", "assignee", "count")
    return rows


_people_query: QueryCache[Task] = QueryCache(_select_people)


def load_progress(actor: Actor, projects: Sequence[Project]) -> list[Progress]:
    """Return what is done of each project, with the number of its open tasks. One query."""
    rows = _progress_query.fetch_objects((), actor.viewer, _ids_of(projects))
    found = {row.pk: row for row in rows}
    return [_progress_of(found[project.pk]) for project in projects if project.pk in found]


@with_tenant_parameter
def _select_progress(viewer: Viewer, ids: IdArray) -> QuerySet[Project]:
    projects = Project.objects.visible_to(viewer).with_details(viewer)
    rows: QuerySet[Project] = projects.filter(IsInIds("pk", ids))
    return rows


_progress_query: QueryCache[Project] = QueryCache(_select_progress)


def _progress_of(project: Project) -> Progress:
    counts = project.task_counts
    total, is_open = sum(counts.values()), counts["todo"] + counts["in_progress"]
    address = list_address(project=project.key, status=OPEN)
    percent = _percent(total - is_open, total)
    return Progress(project, Bar(_("open"), is_open, address, FULL - percent), percent)


def _ids_of(projects: Sequence[Project]) -> IdArray:
    return IdArray(tuple(project.pk for project in projects))


def _percent(part: int, whole: int) -> int:
    return round(FULL * part / whole) if whole else 0
