"""What the first page costs in a large tenant: each statement reads ranges of indexes.

The plans are SQLite's, which do not depend on the rows. The figures are in docs/performance.md.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from taskflow.tenancy import inside
from taskflow.tests.test_sqlite_plans import Plan, check, plans_of
from tasks.admin.home.charts import DAYS
from tasks.changes.tasks import complete_task, create_task
from tasks.tests.test_home import CHARTS, HOME, open_browser

MAX_STATEMENTS_OF_CHARTS = 13  # with those of the session and of the transaction
only_sqlite = pytest.mark.skipif("connection.vendor != 'sqlite'")


@pytest.fixture
def browsers(fixtures: Any) -> list[Client]:
    """Of an administrator, and of a member who has more tasks than the page shows."""
    f = fixtures
    with inside(f.acme):
        today = f.acme.day_of(f.apollo.created_at)
        for number in range(7):
            create_task(f.ada, f.apollo, title=f"due {number}", assignee=f.bob.user, due_on=today)
            create_task(f.ada, f.apollo, title=f"nobody's {number}")
    return [open_browser(actor) for actor in (f.boss, f.bob)]


def plans_of_tasks(browser: Client, path: str) -> list[Plan]:
    return [plan for plan in plans_of(browser, "get", path) if '"tasks_task"' in plan.sql]


def steps_of(plan: Plan, pattern: str) -> int:
    return len(re.findall(rf"^SEARCH \S+ USING (?:COVERING )?INDEX {pattern}$", str(plan), re.M))


@only_sqlite
@pytest.mark.slow
def test_lists_of_own_tasks_are_ranges_of_the_index_of_open_tasks(browsers: list[Client]) -> None:
    for browser in browsers:
        plans = plans_of_tasks(browser, HOME)
        check(plans)
        by_due = [
            p for p in plans if steps_of(p, r"task_open_by_due \(.*assignee_id=\? AND due>.*")
        ]
        assert len(by_due) >= 3  # overdue, today and this week


@only_sqlite
def test_tasks_of_nobody_are_read_and_counted_by_an_index(browsers: list[Client]) -> None:
    pattern = r"task_open_by_assignee \(tenant_id=\? AND project_id=\? AND assignee_id=\?\)"
    for browser in browsers:
        plans = [p for p in plans_of_tasks(browser, HOME) if 'assignee_id" IS NULL' in p.sql]
        assert len(plans) == 2
        assert all(steps_of(plan, pattern) for plan in plans), "\n".join(map(str, plans))


@only_sqlite
def test_charts_read_one_range_of_an_index_for_each_day_and_project(browsers: list[Client]) -> None:
    place = r"\(tenant_id=\? AND project_id=\?"
    for browser in browsers:
        plans = plans_of_tasks(browser, CHARTS)
        check(plans)
        days, people = sorted(plans, key=lambda plan: -len(plan.sql))
        created = rf"task_in_order_of_created_at {place} AND created_at>\? AND created_at<\?\)"
        completed = rf"task_by_completion {place} AND completed_at>\? AND completed_at<\?\)"
        assert steps_of(days, created) == steps_of(days, completed) == DAYS, str(days)
        assert steps_of(people, rf"task_open_by_assignee {place}\)") == 1, str(people)
        assert "TEMP B-TREE" not in f"{days}{people}"


def test_statements_of_the_charts_do_not_depend_on_the_number_of_rows(
    fixtures: Any, browsers: list[Client]
) -> None:
    f, counts = fixtures, []
    for _ in range(2):
        with inside(f.acme):
            for number in range(5):
                complete_task(f.bob, create_task(f.ada, f.apollo, title=f"more {number}"))
        with CaptureQueriesContext(connection) as captured:
            assert browsers[1].get(CHARTS).status_code == 200
        counts.append(len(captured.captured_queries))

    assert counts[0] == counts[1] <= MAX_STATEMENTS_OF_CHARTS
