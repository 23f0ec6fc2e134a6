"""The timeline of tasks: a bar for each, from its creation to the day it is due or done."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta
from typing import NamedTuple

from django.db.models import F, Q
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import Tenant
from tasks.admin.calendar import MONTH_PARAMETER, day_due, month_of
from tasks.admin.task_pages import TaskPage
from tasks.models import Status, Task
from tasks.models.views import BoardGrouping, Layout

MAX_TASKS = 200  # of a page
MONTHS = 3  # that the page shows
DAY = timedelta(days=1)
ORDER = (F("due").asc(nulls_last=True), "pk")


class Window(NamedTuple):
    """The days that the page shows, both included."""

    first: date
    last: date

    def percent(self, day: date) -> float:
        """Return how far the beginning of a day is from the left edge, from 0 to 100."""
        days = (self.last - self.first).days + 1
        return round(100 * min(max((day - self.first).days, 0), days) / days, 2)


class Month(NamedTuple):
    """A month at the top of the page, and its place there in percent of the width."""

    first: date
    left: float


class Bar(NamedTuple):
    """The bar of a task, and its place in percent of the width of the page.

    The bar of an open task that is late goes on until today, with a part of its own from the day
    after it was due. The bar of an open task that is not due ends today.
    """

    task: Task
    start: date
    end: date
    due: date | None
    left: float
    width: float
    late_left: float
    late_width: float  # 0 if the task is not late
    is_late: bool


class Group(NamedTuple):
    """The bars of one status or of one assignee."""

    title: str
    bars: list[Bar]


def timeline(request: HttpRequest) -> HttpResponse:
    """Show three months, of which the second is this one unless the address names the first."""
    page = TaskPage(request, Layout.TIMELINE)
    if page.problem is not None:
        return page.refuse()
    tenant: Tenant = page.actor.tenant
    today = tenant.day_of(timezone.now())
    default = _add_months(today.replace(day=1), -1)
    first = month_of(request.GET.get(MONTH_PARAMETER, ""), default)
    window = Window(first, _add_months(first, MONTHS) - DAY)
    grouping = page.grouping()
    tasks, is_cut = _load(page, window, today)
    months = [_add_months(first, n) for n in range(MONTHS)]
    context = page.context() | {
        "title": _("Timeline of tasks"),
        "groups": _build_groups(tasks, grouping, window, today, tenant),
        "groupings": page.groupings(grouping),
        "is_cut": is_cut,
        "max_tasks": MAX_TASKS,
        "months": [Month(month, window.percent(month)) for month in months],
        "today_left": window.percent(today) if first <= today <= window.last else None,
        "before": page.address_with(**{MONTH_PARAMETER: f"{_add_months(first, -1):%Y-%m}"}),
        "after": page.address_with(**{MONTH_PARAMETER: f"{_add_months(first, 1):%Y-%m}"}),
        "zone": tenant.time_zone,
    }
    return TemplateResponse(request, "admin/timeline.html", context)


def _add_months(first: date, count: int) -> date:
    """Return the first day of the month that is so many months later."""
    years, month = divmod(first.month - 1 + count, 12)
    return date(first.year + years, month + 1, 1)


# ---- tasks --------------------------------------------------------------------------------------


def _load(page: TaskPage, window: Window, today: date) -> tuple[list[Task], bool]:
    """Return the tasks whose bars reach into the window, the earliest due ones first, and whether
    there are too many to show. One query.
    """
    tenant: Tenant = page.actor.tenant
    start, end = tenant.start_of(window.first), tenant.end_of(window.last)
    is_open = ~Q(status=Status.DONE)
    if window.first > today:  # bars of open tasks end today, unless they are due later
        is_open &= Q(due_on__gte=window.first) | Q(due_date__gte=start)
    reaches = is_open | Q(status=Status.DONE, completed_at__gte=start)
    rows = page.tasks.filter(reaches, created_at__lte=end).select_related("project", "assignee")
    tasks = list(rows.order_by(*ORDER)[: MAX_TASKS + 1])
    return tasks[:MAX_TASKS], len(tasks) > MAX_TASKS


# ---- groups -------------------------------------------------------------------------------------


def _build_groups(
    tasks: list[Task], grouping: BoardGrouping, window: Window, today: date, tenant: Tenant
) -> list[Group]:
    """Return the groups that have tasks: in the order of the statuses, or by name after nobody."""
    bars: dict[tuple[int, str], list[Bar]] = defaultdict(list)
    statuses = list(Status)
    for task in tasks:
        if grouping == BoardGrouping.STATUS:
            status = Status(task.status)
            group = (statuses.index(status), str(status.label))
        else:
            group = (1, str(task.assignee)) if task.assignee else (0, _("Nobody"))
        bars[group].append(_build_bar(task, window, today, tenant))
    return [Group(group[1], sorted(bars[group], key=_order_of)) for group in sorted(bars)]


def _order_of(bar: Bar) -> tuple[date, date, int]:
    return bar.start, bar.end, bar.task.pk


def _build_bar(task: Task, window: Window, today: date, tenant: Tenant) -> Bar:
    start, due = tenant.day_of(task.created_at), day_due(tenant, task)
    is_late = task.completed_at is None and due is not None and due < today
    if task.completed_at is not None:
        end = tenant.day_of(task.completed_at)
    else:
        end = today if due is None else max(due, today)
    end = max(start, end)  # an imported task may have been done before its row was created
    on_time = max(start - DAY, due) if is_late and due is not None else end
    left, middle, right = (window.percent(day) for day in (start, on_time + DAY, end + DAY))
    width, late_width = round(middle - left, 2), round(right - middle, 2)
    return Bar(task, start, end, due, left, width, middle, late_width, is_late)
