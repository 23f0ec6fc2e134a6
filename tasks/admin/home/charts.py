"""The charts of the first page, which the browser loads after it. Each bar leads to its tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.admin.recorded import get_actor
from accounts.models import User
from taskflow.audit.actor import Actor
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
    """Return how many tasks were created and done on each of the last days. One query."""
    today = actor.tenant.day_of(timezone.now())
    days = [today - timedelta(days=back) for back in reversed(range(DAYS))]
    counts = {
        f"{name}_{n}": Count("pk", filter=_is_on(actor, f"{name}_at", day))
        for name in ("created", "completed")
        for n, day in enumerate(days)
    }
    tasks = Task.objects.visible_to(actor.viewer).filter(
        project__in=[project.pk for project in projects],
        updated_at__gte=actor.tenant.start_of(days[0]),  # later than both: it bounds the rows
    )
    found = tasks.aggregate(**counts)
    longest = max(found.values(), default=0)
    keys = [project.key for project in projects]
    return [
        Day(
            day,
            (
                _bar_of_day("created", _("new"), day, found[f"created_{n}"], longest, keys),
                _bar_of_day("completed", _("done"), day, found[f"completed_{n}"], longest, keys),
            ),
        )
        for n, day in enumerate(days)
    ]


def _is_on(actor: Actor, column: str, day: date) -> Q:
    """Return the condition of the filters after the day before and before the day after."""
    before, after = day - timedelta(days=1), day + timedelta(days=1)
    return Q(
        (f"{column}__gt", actor.tenant.end_of(before)),
        (f"{column}__lt", actor.tenant.start_of(after)),
    )


def _bar_of_day(name: str, label: str, day: date, count: int, longest: int, keys: list[str]) -> Bar:
    filters = {
        f"{name}_after": day - timedelta(days=1),
        f"{name}_before": day + timedelta(days=1),
    }
    return Bar(label, count, list_address(project=keys, **filters), _percent(count, longest))


def load_people(actor: Actor, projects: Sequence[Project]) -> list[Bar]:
    """Return how many open tasks those have who have most of them, and nobody. Two queries."""
    tasks = Task.objects.visible_to(actor.viewer).filter(
        project__in=[project.pk for project in projects], status__in=OPEN
    )
    counts = tasks.order_by().values_list("assignee").annotate(count=Count("pk"))
    rows = list(counts.order_by("-count", "assignee")[:SHOWN_PEOPLE])
    users = User.objects.in_bulk([pk for pk, _count in rows if pk is not None])
    keys = [project.key for project in projects]
    bars = []
    for pk, count in rows:
        label = str(users[pk]) if pk in users else _("Nobody")
        address = list_address(project=keys, status=OPEN, assignee="none" if pk is None else pk)
        bars.append(Bar(label, count, address, _percent(count, rows[0][1])))
    return bars


def load_progress(actor: Actor, projects: Sequence[Project]) -> list[Progress]:
    """Return what is done of each project, with the number of its open tasks. One query."""
    rows = Project.objects.visible_to(actor.viewer).with_details(actor.viewer)
    found = {row.pk: row for row in rows.filter(pk__in=[project.pk for project in projects])}
    return [_progress_of(found[project.pk]) for project in projects if project.pk in found]


def _progress_of(project: Project) -> Progress:
    counts = project.task_counts
    total, is_open = sum(counts.values()), counts["todo"] + counts["in_progress"]
    address = list_address(project=project.key, status=OPEN)
    percent = _percent(total - is_open, total)
    return Progress(project, Bar(_("open"), is_open, address, FULL - percent), percent)


def _percent(part: int, whole: int) -> int:
    return round(FULL * part / whole) if whole else 0
