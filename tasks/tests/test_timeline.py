"""The timeline shows the tasks of the list as bars, from their creation to the end of the work."""

from __future__ import annotations

import re
from datetime import timedelta
from urllib.parse import urlencode

import pytest
from django.utils import timezone

from conftest import sign_in_browser
from taskflow.tenancy import inside
from tasks.actions.projects import create_project
from tasks.actions.views import create_view
from tasks.admin import timeline
from tasks.changes.tasks import create_task, update_task
from tasks.models import Task
from tasks.models.views import Layout

pytestmark = pytest.mark.one_database

TIMELINE = "/admin/tasks/task/timeline/"
DAY = timedelta(days=1)
HIGH = urlencode({"where": "priority=high"})


@pytest.fixture
def today(fixtures):
    return fixtures.acme.day_of(timezone.now())


@pytest.fixture
def tasks(fixtures, today):
    """Tasks of high priority that were created ten days ago; Launch was too."""
    values = {
        "due": {"due_on": today + 5 * DAY},
        "late": {"due_on": today - 3 * DAY, "assignee": fixtures.bob.user},
        "at noon": {"due_date": timezone.now() + 2 * DAY},
        "endless": {},
        "done": {"due_on": today - 5 * DAY},
    }
    with inside(fixtures.acme):
        made = {
            title: create_task(
                fixtures.ada, fixtures.apollo, title=title, priority="high", **fields
            )
            for title, fields in values.items()
        }
        update_task(fixtures.ada, made["done"], status="done")
        Task.objects.update(created_at=timezone.now() - 10 * DAY)
    return made


@pytest.fixture
def browser(browser, tasks):
    return browser


def bars_of(response):
    assert response.status_code == 200, response.content
    return {bar.task.title: bar for group in response.context["groups"] for bar in group.bars}


def groups_of(response):
    assert response.status_code == 200, response.content
    return {g.title: sorted(b.task.title for b in g.bars) for g in response.context["groups"]}


def test_bars_end_when_tasks_are_due_or_done_or_today(browser, today):
    bars = bars_of(browser.get(f"{TIMELINE}?{HIGH}"))

    assert {bar.start for bar in bars.values()} == {today - 10 * DAY}
    assert {title: bar.end for title, bar in bars.items()} == {
        "due": today + 5 * DAY,
        "late": today,
        "at noon": today + 2 * DAY,
        "endless": today,
        "done": today,
    }


def test_late_part_begins_after_the_due_day_and_ends_today(browser, today):
    page = browser.get(f"{TIMELINE}?{HIGH}")

    bars = bars_of(page)
    assert [title for title, bar in bars.items() if bar.late_width] == ["late"]
    late, days = bars["late"], (page.context["months"][1].first - page.context["months"][0].first)
    percent_of_day = page.context["months"][1].left / days.days
    assert late.late_width == pytest.approx(3 * percent_of_day, abs=0.05)
    assert late.left + late.width == pytest.approx(late.late_left, abs=0.02)


def test_task_that_was_due_before_it_was_created_is_late_only(fixtures, browser, today):
    with inside(fixtures.acme):
        create_task(fixtures.ada, fixtures.apollo, title="old", due_on=today - 30 * DAY)

    bar = bars_of(browser.get(TIMELINE))["old"]

    assert (bar.start, bar.end, bar.width) == (today, today, 0)
    assert bar.late_width > 0


def test_dates_are_written_beside_each_bar(browser, today):
    words = re.sub(r"<[^>]+>", "", browser.get(f"{TIMELINE}?{HIGH}").content.decode())

    since = f"{today - 10 * DAY}"
    assert f"{since} – {today + 5 * DAY}, due" in words
    assert f"since {since}, late: due {today - 3 * DAY}" in words
    assert f"since {since}, no due day" in words
    assert f"{since} – {today}, done" in words


def test_groups_are_statuses_or_people_with_the_tasks_of_the_filters(browser, fixtures):
    bob = str(fixtures.bob.user)
    assert groups_of(browser.get(f"{TIMELINE}?{HIGH}")) == {
        "To do": ["at noon", "due", "endless", "late"],
        "Done": ["done"],
    }
    assert groups_of(browser.get(f"{TIMELINE}?{HIGH}&group=assignee")) == {
        "Nobody": ["at noon", "done", "due", "endless"],
        bob: ["late"],
    }


def test_stored_view_opens_as_timeline_with_its_groups(fixtures, browser):
    with inside(fixtures.acme):
        view = create_view(fixtures.boss, name="Plan", where={"priority": ["high"]},
                           layout=Layout.TIMELINE, group_by="assignee")  # fmt: skip

    page = browser.get(browser.get(TIMELINE).context["tabs"].selections[-1].address)

    assert "Nobody" in groups_of(page)
    (tab,) = (tab for tab in page.context["tabs"].selections if tab.is_active)
    assert (tab.title, tab.address.partition("?")[0]) == (view.name, TIMELINE)
    assert [tab.title for tab in page.context["tabs"].layouts if tab.is_active] == ["Timeline"]


def test_other_months_have_the_tasks_that_were_open_then(browser, today):
    def titles(month):
        return set(bars_of(browser.get(f"{TIMELINE}?{HIGH}&month={month:%Y-%m}")))

    assert titles(today - 200 * DAY) == set()
    assert titles(today + 200 * DAY) == set()
    assert titles((today + 5 * DAY).replace(day=1)) >= {"due"}
    page = browser.get(f"{TIMELINE}?{HIGH}&month={today - 200 * DAY:%Y-%m}").content.decode()
    assert "None of these tasks was open in these months." in page


@pytest.mark.parametrize("month", ["1970-01", "1971-01", "2026-13", "9999-12", "2198-12", "x"])
def test_every_month_can_be_opened(browser, month):
    page = browser.get(f"{TIMELINE}?month={month}")

    assert page.status_code == 200
    assert browser.get(page.context["before"]).status_code == 200
    assert browser.get(page.context["after"]).status_code == 200


def test_places_are_written_with_a_point_in_every_language(browser, settings):
    settings.USE_I18N = True

    page = browser.get(TIMELINE, headers={"Accept-Language": "de"}).content.decode()

    assert re.search(r"left: \d+\.\d+%", page)
    assert not re.search(r"(left|width): \d+,", page)


def test_timeline_with_too_many_tasks_says_so(fixtures, browser, monkeypatch):
    monkeypatch.setattr(timeline, "MAX_TASKS", 3)

    page = browser.get(TIMELINE)

    assert len(bars_of(page)) == 3
    assert "There are more tasks than the 3 that this page shows." in page.content.decode()
    few = browser.get(f"{TIMELINE}?{urlencode({'where': 'status=done'})}").content.decode()
    assert "more tasks than" not in few


# session, user and tenant; tasks; views; notifications
@pytest.mark.slow
def test_timeline_takes_the_same_number_of_statements_for_many_tasks(
    fixtures, browser, assert_statements
):
    addresses = (TIMELINE, f"{TIMELINE}?group=assignee")
    for address in addresses:
        browser.get(address)
        with assert_statements(7):
            browser.get(address)
    with inside(fixtures.acme):
        for n in range(15):
            create_task(fixtures.ada, fixtures.apollo, title=f"more {n}",
                        assignee=(fixtures.bob, fixtures.ada)[n % 2].user)  # fmt: skip
    for address in addresses:
        with assert_statements(7):
            browser.get(address)


def test_member_sees_tasks_of_own_projects_only(fixtures, tasks, client):
    with inside(fixtures.acme):
        gemini = create_project(fixtures.boss, name="Gemini")
        create_task(fixtures.boss, gemini, title="hidden plan")
        sign_in_browser(client, fixtures.bob.user)

    bars = bars_of(client.get(TIMELINE, SERVER_NAME="acme.localhost"))

    assert "late" in bars
    assert "hidden plan" not in bars


def test_user_of_another_tenant_sees_no_task(fixtures, tasks, client):
    with inside(fixtures.globex):
        sign_in_browser(client, fixtures.mallory.user)

    page = client.get(TIMELINE, SERVER_NAME="globex.localhost")

    assert not set(bars_of(page)) & set(tasks)


def test_filters_that_the_api_refuses_are_answered_with_400(browser):
    assert browser.get(f"{TIMELINE}?where=colour%3Dred").status_code == 400


def test_timeline_needs_a_sign_in(fixtures, client):
    response = client.get(TIMELINE, SERVER_NAME="acme.localhost")

    assert response.status_code == 302
    assert "/login/" in response["Location"]
