"""My work, the first page of the admin: each number leads to exactly the tasks that it counts."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from conftest import sign_in_browser
from taskflow.audit.models import Event
from taskflow.db.query import QueryCache
from taskflow.tenancy import inside
from tasks.actions.comments import create_comment
from tasks.actions.projects import create_project
from tasks.admin.home import activity, sections
from tasks.admin.home import page as home_page
from tasks.changes.tasks import complete_task, create_task
from tasks.models import Claim
from tasks.models.notifications import Notification, NotificationKind
from tasks.tests.factories import ClaimFactory

HOME = "/admin/"
CHARTS = "/admin/home/charts/"
MAX_STATEMENTS = 28  # of the page for a member, with those of the session and of the transaction


def open_browser(actor: Any) -> Client:
    client = Client(SERVER_NAME=f"{actor.tenant.subdomain}.localhost")
    with inside(actor.tenant):
        sign_in_browser(client, actor.user)
    return client


@pytest.fixture
def work(fixtures: Any) -> Any:
    """Tasks of Bob with all kinds of due dates, blockers, nobody's tasks and a hidden project."""
    f = fixtures
    today = f.acme.day_of(timezone.now())
    with inside(f.acme):
        bob, day = f.bob.user, timedelta(days=1)
        for title, values in {
            "late": {"due_on": today - day},
            "late instant": {"due_date": timezone.now() - timedelta(minutes=1)},
            "today": {"due_on": today},
            "tomorrow": {"due_on": today + day},
            "end of week": {"due_on": today + timedelta(days=6 - today.weekday())},
            "next week": {"due_on": today + timedelta(days=7 - today.weekday())},
            "some day": {},
        }.items():
            create_task(f.ada, f.apollo, title=title, assignee=bob, **values)
        done = create_task(f.ada, f.apollo, title="done", assignee=bob, due_on=today - day)
        complete_task(f.bob, done)
        blocker = create_task(f.ada, f.apollo, title="blocker", assignee=bob)
        waits = create_task(f.ada, f.apollo, title="waits", assignee=f.ada.user,
                            blocked_by=[blocker])  # fmt: skip
        create_task(f.ada, f.apollo, title="own", assignee=bob, blocked_by=[blocker])
        create_task(f.ada, f.apollo, title="nobody's", blocked_by=[blocker])
        for number in range(7):
            create_task(f.ada, f.apollo, title=f"unassigned {number}")
        hidden = create_project(f.ada, name="Hidden", key="HID")
        create_task(f.ada, hidden, title="Unspoken")
        archived = create_project(f.ada, name="Old", key="OLD")
        create_task(f.ada, archived, title="Relic")
        ClaimFactory(actor=f.bot, project=f.apollo)
        expired = ClaimFactory(actor=f.bot, project=f.apollo)
        Claim.objects.filter(pk=expired.pk).update(expires_at=timezone.now() - day)
        comment = create_comment(f.ada, waits, body="@bob, when?")
        Notification.objects.add(
            [Notification(user=bob, kind=NotificationKind.MENTIONED, actor=f.ada.user, task=waits,
                          comment=comment, project=f.apollo)]
        )  # fmt: skip
    return fixtures


def rows_of(browser: Client, address: str) -> int:
    r = browser.get(address)
    assert r.status_code == 200, address
    return int(r.context["cl"].result_count)


@pytest.mark.slow
def test_each_number_of_the_page_leads_to_the_rows_that_it_counts(work):
    counts = {}
    for actor in (work.boss, work.ada, work.bob, work.eve):
        browser = open_browser(actor)
        page = browser.get(HOME).context
        for section in page["sections"]:
            counts[actor.user.handle, section.name] = section.count
            if section.address:
                assert rows_of(browser, section.address) == section.count, section
        assert rows_of(browser, page["claims_address"]) == len(page["claims"])
        for label, number, address in page["cards"]:
            assert rows_of(browser, address) == number, label

    names = ("overdue", "waiting", "nobody")
    assert [counts["bob", name] for name in names] == [2, 2, 8]
    assert "Users" not in open_browser(work.bob).get(HOME).content.decode()


def test_due_days_are_split_at_the_days_of_the_tenant(work):
    page = open_browser(work.bob).get(HOME).context
    titles = {s.name: {task.title for task in s.tasks} for s in page["sections"]}
    is_sunday = work.acme.day_of(timezone.now()).weekday() == 6

    assert titles["overdue"] == {"late", "late instant"}
    assert "today" in titles["today"]
    assert "next week" not in titles["week"]
    assert is_sunday or "tomorrow" in titles["week"]
    assert titles["waiting"] == {"waits", "nobody's"}


@pytest.mark.slow
def test_each_bar_of_the_charts_leads_to_the_tasks_that_it_counts(work):
    for actor in (work.boss, work.bob):
        browser = open_browser(actor)
        charts = browser.get(CHARTS).context
        bars = [bar for day in charts["days"][-2:] for bar in day.bars]
        bars += [*charts["people"], *(one.open for one in charts["progress"])]

        assert len(charts["days"]) == 14
        assert sum(bar.count for bar in bars) > 0
        for bar in bars:
            assert rows_of(browser, bar.address) == bar.count, bar


@pytest.mark.slow
def test_pages_show_nothing_of_projects_that_a_member_cannot_see(work):
    browser = open_browser(work.bob)

    for address in (HOME, CHARTS):
        assert not re.search("Unspoken|Hidden|HID|Relic", browser.get(address).content.decode())
    assert "Unspoken" in open_browser(work.ada).get(HOME).content.decode()


@pytest.mark.slow
def test_mentions_and_events_lead_to_their_tasks(work):
    r = open_browser(work.bob).get(HOME)

    (mention,) = r.context["mentions"]
    assert mention.task.title == "waits"
    subjects = [item.subject for item in r.context["feed"] if item.subject and item.subject.address]
    assert any(re.match(r"APO-\d+ ", subject.name) for subject in subjects)
    for subject in {subject.address for subject in subjects}:
        assert open_browser(work.bob).get(subject).status_code == 200


def test_mention_in_the_description_of_a_project_leads_to_the_project(work):
    with inside(work.acme):
        mention = Notification(user=work.bob.user, kind=NotificationKind.MENTIONED,
                               actor=work.ada.user, project=work.apollo)  # fmt: skip
        Notification.objects.add([mention])

    page = open_browser(work.bob).get(HOME).content.decode()

    mentions = page.partition('id="home-mentions"')[2].partition("</section>")[0]
    assert f'href="/admin/tasks/project/{work.apollo.pk}/change/"' in mentions
    assert "Apollo" in mentions


def test_person_without_a_project_is_led_to_one(work):
    page = open_browser(work.eve).get(HOME).content.decode()

    assert "Create a project" in page
    assert "Show the charts" not in page


def test_long_lists_are_counted_up_to_a_limit(work, monkeypatch):
    monkeypatch.setattr(sections, "MAX_COUNT", 6)

    page = open_browser(work.bob).get(HOME).context

    (nobodys,) = [s for s in page["sections"] if s.name == "nobody"]
    assert (nobodys.shown_count, len(nobodys.tasks)) == ("6+", 5)


def test_limits_of_the_claims_and_of_the_feed_are_said(work, monkeypatch):
    browser = open_browser(work.bob)
    page = browser.get(HOME).content.decode()
    assert "are looked through here" not in page
    monkeypatch.setattr(activity, "SHOWN_EVENTS", 1_000)  # the feed is short, and has all events
    assert "are looked through here" not in browser.get(HOME).content.decode()

    monkeypatch.setattr(activity, "MAX_CLAIMS", 1)
    monkeypatch.setattr(home_page, "MAX_CLAIMS", 1)
    monkeypatch.setattr(activity, "EVENT_WINDOW", 3)
    select = activity._select_newest_events
    monkeypatch.setattr(activity, "_newest_events_query", QueryCache(select))
    response = browser.get(HOME)
    page = response.content.decode()
    with inside(work.acme):
        newest = set(Event.objects.order_by("-pk").values_list("pk", flat=True)[:3])
    assert {entry.entry.event.pk for entry in response.context["feed"]} <= newest

    assert "Only the newest 1 claims of the tenant are looked through here." in page
    assert "Only the newest events of the tenant are looked through here." in page


def test_statements_do_not_depend_on_the_number_of_rows(work):
    browser, counts = open_browser(work.bob), []
    for _ in range(2):
        with inside(work.acme):
            for number in range(13):  # more events than the page shows
                create_task(work.ada, work.apollo, title=f"more {number}")
        with CaptureQueriesContext(connection) as captured:
            assert browser.get(HOME).status_code == 200
        counts.append(len(captured.captured_queries))

    assert counts[0] == counts[1] <= MAX_STATEMENTS
