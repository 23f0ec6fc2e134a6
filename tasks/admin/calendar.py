"""The calendar of tasks: a month of days with the tasks that are due on them."""

from __future__ import annotations

import re
from calendar import Calendar
from collections import defaultdict
from datetime import date, timedelta
from typing import NamedTuple

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts.models import Tenant
from taskflow.http.schema import FIRST_YEAR, LAST_YEAR
from tasks.admin.addresses import FilterArgument, list_address_of, narrow_where
from tasks.admin.task_pages import TaskPage
from tasks.models import Status, Task
from tasks.models.views import Layout

MAX_TASKS = 500  # of a page
MAX_TASKS_OF_DAY = 5  # in one cell; a link leads to all of them
MONTH = re.compile(r"(\d{4})-(\d\d)", re.ASCII)
MONTH_PARAMETER = "month"  # as in 2026-12


class Day(NamedTuple):
    """A cell of the calendar."""

    day: date
    tasks: list[Task]
    rest: int  # tasks that are not shown
    address: str  # of the list of all tasks of the day
    is_in_month: bool
    is_today: bool


def calendar(request: HttpRequest) -> HttpResponse:
    """Show the tasks that are due in a month, this month unless the address names another."""
    page = TaskPage(request, Layout.CALENDAR)
    if page.problem is not None:
        return page.refuse()
    today = page.actor.tenant.day_of(timezone.now())
    first = month_of(request.GET.get(MONTH_PARAMETER, ""), today.replace(day=1))
    weeks = Calendar().monthdatescalendar(first.year, first.month)
    by_day, is_cut = _load(page, weeks[0][0], weeks[-1][-1])
    context = page.context() | {
        "title": _("Calendar of tasks"),
        "month": first,
        "weeks": [[_build_day(page, d, by_day[d], first, today) for d in week] for week in weeks],
        "is_cut": is_cut,
        "before": page.address_with(**{MONTH_PARAMETER: f"{first - timedelta(days=1):%Y-%m}"}),
        "after": page.address_with(**{MONTH_PARAMETER: f"{first + timedelta(days=31):%Y-%m}"}),
        "today": today,
        "zone": page.actor.tenant.time_zone,
        "done": Status.DONE,
    }
    return TemplateResponse(request, "admin/calendar.html", context)


def month_of(text: str, default: date) -> date:
    """Return the first day of the month that is written as 2026-12; the default otherwise."""
    match = MONTH.fullmatch(text)
    if match and FIRST_YEAR < int(match[1]) < LAST_YEAR and 1 <= int(match[2]) <= 12:
        return date(int(match[1]), int(match[2]), 1)
    return default


def _load(page: TaskPage, first: date, last: date) -> tuple[dict[date, list[Task]], bool]:
    """Return the tasks that are due on these days of the tenant, by day, and whether there are too
    many to show. One query.
    """
    tenant: Tenant = page.actor.tenant
    on_days = Q(due_on__gte=first, due_on__lte=last)
    at_times = Q(due_date__gte=tenant.start_of(first), due_date__lte=tenant.end_of(last))
    rows = page.tasks.filter(on_days | at_times).select_related("project")
    tasks = list(rows.order_by("due", "pk")[: MAX_TASKS + 1])
    by_day: dict[date, list[Task]] = defaultdict(list)
    for task in tasks[:MAX_TASKS]:
        day = day_due(tenant, task)
        assert day is not None, "only tasks that are due are loaded"
        by_day[day].append(task)
    return by_day, len(tasks) > MAX_TASKS


def day_due(tenant: Tenant, task: Task) -> date | None:
    """Return the tenant's day on which a task is due; None if it is not due."""
    return task.due_on if task.due_date is None else tenant.day_of(task.due_date)


def _build_day(page: TaskPage, day: date, tasks: list[Task], first: date, today: date) -> Day:
    bounds: dict[str, FilterArgument] = {
        "due_after": day - timedelta(days=1),
        "due_before": day + timedelta(days=1),
    }
    return Day(
        day,
        tasks[:MAX_TASKS_OF_DAY],
        len(tasks) - MAX_TASKS_OF_DAY,
        list_address_of(narrow_where(page.where, bounds)),
        is_in_month=day.month == first.month,
        is_today=day == today,
    )
