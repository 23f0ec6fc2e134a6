"""The list of tasks in the admin shows exactly what GET /tasks returns for the same filters."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import urlencode

import pytest
from django.http import QueryDict
from django.utils import timezone

from conftest import sign_in_browser
from taskflow.http.filtering import MAX_VALUES_PER_FILTER
from taskflow.tenancy import inside
from tasks.actions.projects import create_project, delete_project
from tasks.admin.addresses import list_address, list_address_of, write_where
from tasks.admin.tabs import layout_address
from tasks.admin.where import add_panel_filters
from tasks.changes.tasks import complete_task, create_task, delete_task
from tasks.models import Task
from tasks.models.views import Layout
from tasks.tests.factories import ProjectFactory, TaskFactory

pytestmark = pytest.mark.one_database


@pytest.fixture
def board(fixtures):
    now = timezone.now()
    today = fixtures.acme.day_of(now)
    with inside(fixtures.acme):
        project = create_project(fixtures.ada, name="Other", key="OTH")
        for title, values in {
            "late day": {"due_on": today - timedelta(days=1), "assignee": fixtures.ada.user},
            "late time": {"due_date": now - timedelta(minutes=1), "tags": ["bug"]},
            "today": {"due_on": today, "assignee": fixtures.ada.user},
            "next week": {"due_on": today + timedelta(days=7), "priority": "high"},
            "later": {"due_on": today + timedelta(days=8), "metadata": {"sprint": 12}},
        }.items():
            create_task(fixtures.ada, fixtures.apollo, title=title, **values)
        create_task(fixtures.ada, project, title="elsewhere")
        done = create_task(fixtures.ada, project, title="done", due_on=today - timedelta(days=2))
        complete_task(fixtures.ada, done)
    return fixtures


@pytest.fixture
def browser(board, client):
    client.defaults["SERVER_NAME"] = "acme.localhost"
    with inside(board.acme):
        sign_in_browser(client, board.boss.user)
    return client


def titles_of(response):
    assert response.status_code == 200, response.content
    return sorted(task.title for task in response.context["cl"].result_list)


@pytest.mark.sampled(6)
@pytest.mark.parametrize(
    "where",
    [
        "assignee=@ada",
        "assignee=@ada&overdue=true",
        "overdue=true",
        "overdue=false",
        "assignee=none&status_not=done",
        "due_after=yesterday&due_before=tomorrow",
        "due_after=-1d&due_before=8d&status_not=done",
        "due_before=today",
        "due_after=7d",
        "project=OTH&status=done",
        "tag=bug&tag=other",
        "tag_none=true",
        "metadata.sprint=12",
        "q=late",
        "ready=false",
        "priority_not=high",
    ],
)
@pytest.mark.slow
def test_list_shows_what_the_api_returns_for_the_same_filters(board, browser, as_, where):
    response = browser.get(list_address_of(where))

    listed = as_(board.boss).get(f"/tasks?{where}").json()["data"]
    assert titles_of(response) == sorted(task["title"] for task in listed)


@pytest.mark.parametrize(
    ("where", "titles"),
    [
        ("overdue=true", ["late day", "late time"]),
        ("due_after=yesterday&due_before=tomorrow", ["today"]),
        ("due_after=-1d&due_before=8d", ["next week", "today"]),
    ],
)
def test_overdue_and_relative_days_are_those_of_the_tenant(board, browser, where, titles):
    found = titles_of(browser.get(list_address_of(where)))

    assert [title for title in found if title != "late time" or "overdue" in where] == titles


def test_overdue_false_selects_all_other_tasks(board, as_):
    client = as_(board.boss)
    late, other, everything = (
        {task["id"] for task in client.get(f"/tasks?limit=200{query}").json()["data"]}
        for query in ("&overdue=true", "&overdue=false", "")
    )

    assert late
    assert late | other == everything
    assert not late & other


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("colour=red", "colour"),
        ("overdue=yes", "true or false"),
        ("assignee=@nobody", "nobody"),
        ("status=open", "status"),
        ("project=", "empty"),
        ("due_before=soon", "due_before"),
        ("q=a&q=b", "q"),
        ("limit=5", "limit"),
        ("=", ""),
        ("a%00=1", "NUL"),
    ],
)
def test_filters_that_the_api_refuses_are_answered_with_400_and_a_sentence(browser, where, words):
    response = browser.get(list_address_of(where))

    assert response.status_code == 400
    assert words in response.content.decode()
    assert "Show all tasks" in response.content.decode()


def test_filters_stand_above_the_list_and_each_can_be_removed(browser):
    page = browser.get(list_address(assignee="@ada", status=["todo", "in_progress"], overdue=True))

    first, second, third = page.context["filters"]
    assert (first.label, first.values) == ("assignee", "@ada")
    assert second.values == "to do or in progress"
    assert third.values == "yes"
    assert first.address_without == list_address(status=["todo", "in_progress"], overdue=True)
    assert "Remove the filter: overdue" in page.content.decode()


def test_filter_value_is_escaped_on_the_page(browser):
    page = browser.get(list_address(q="<b>late</b>"))

    assert "<b>late" not in page.content.decode()


def test_action_on_a_filtered_list_changes_only_its_tasks(board, browser, as_):
    body = {"action": "complete", "select_across": "1", "index": "0", "_selected_action": "1"}
    response = browser.post(list_address(assignee="@ada", overdue=True), body)

    assert response.status_code == 302
    done = as_(board.boss).get("/tasks?status=done&project=APO").json()["data"]
    assert [task["title"] for task in done] == ["late day"]


def test_sort_and_search_keep_the_filters(browser):
    address = f"{list_address(overdue=True)}&{urlencode({'o': '1', 'q': 'late'})}"

    assert titles_of(browser.get(address)) == ["late day", "late time"]
    assert "where=overdue%3Dtrue" in browser.get(address).content.decode()


def test_address_of_no_filters_is_the_whole_list():
    assert list_address() == "/admin/tasks/task/"
    assert list_address(assignee="me", overdue=True) == (
        "/admin/tasks/task/?where=assignee%3Dme%26overdue%3Dtrue"
    )


def test_list_board_and_calendar_open_with_as_many_values_as_a_filter_takes(browser):
    references = [f"reference {number:07}" for number in range(MAX_VALUES_PER_FILTER)]
    where = write_where({"external_ref": references})

    for layout in Layout:
        assert browser.get(layout_address(layout, where)).status_code == 200


@pytest.mark.slow
def test_number_of_all_tasks_is_that_of_the_visible_ones(fixtures, client):
    client.defaults["SERVER_NAME"] = "acme.localhost"
    with inside(fixtures.acme):
        outside = ProjectFactory(actor=fixtures.boss)
        trashed = ProjectFactory(actor=fixtures.boss)
        for project in (fixtures.apollo, fixtures.apollo, outside, trashed):
            TaskFactory(actor=fixtures.boss, project=project)
        delete_project(fixtures.boss, trashed)
        delete_task(fixtures.boss, TaskFactory(actor=fixtures.boss, project=outside))
        complete_task(fixtures.boss, TaskFactory(actor=fixtures.boss, project=outside))

    for actor in (fixtures.boss, fixtures.ada):
        with inside(fixtures.acme):
            sign_in_browser(client, actor.user)
            count = Task.objects.visible_to(actor.viewer).count()
        assert count > 0
        for query in ("", "?p=1", "?o=1", "?status__exact=todo"):
            changelist = client.get(f"/admin/tasks/task/{query}").context["cl"]
            assert changelist.result_count == len(changelist.result_list)
            assert changelist.result_count == count or "status" in query


@pytest.mark.parametrize(
    ("where", "panel"),
    [
        ("status=todo", "status__exact=todo"),
        ("status=todo&status=done", "status__exact=done"),
        ("status=todo", "status__exact=done"),
        ("assignee=me", "assignee__id__exact={boss}"),
        ("assignee=me", "assignee__id__exact={ada}"),
        ("assignee=none", "assignee__id__exact={ada}"),
        ("project=apo", "project__id__exact={apollo}"),
        ("project=OTH", "project__id__exact={apollo}"),
        ("tag=bug", "priority__exact=high"),
    ],
)
def test_filters_of_the_panel_and_of_the_address_both_apply_to_a_view(board, browser, where, panel):
    """The list shows the tasks that match both, and a view that is saved from it has the same."""
    rows = {
        "boss": board.boss.user.pk,
        "ada": board.ada.user.pk,
        "apollo": board.apollo.pk,
    }
    listed = titles_of(browser.get(f"{list_address_of(where)}&{panel.format(**rows)}"))

    with inside(board.acme):
        query = QueryDict(panel.format(**rows))
        both = add_panel_filters(board.boss, where, query)

    assert sorted(titles_of(browser.get(list_address_of(both)))) == sorted(listed)
