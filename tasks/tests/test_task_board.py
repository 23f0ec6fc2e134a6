"""The board and the calendar show the tasks of the list, and move cards as the API does."""

from __future__ import annotations

import re
from datetime import timedelta
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

import pytest
from django.utils import timezone

from conftest import sign_in_browser
from taskflow.audit.models import Event
from taskflow.tenancy import inside
from tasks.actions.views import create_view
from tasks.admin.addresses import list_address
from tasks.changes.tasks import create_task, update_task
from tasks.models import Task, View
from tasks.models.views import Layout

pytestmark = pytest.mark.one_database

BOARD = "/admin/tasks/task/board/"
CALENDAR = "/admin/tasks/task/calendar/"


@pytest.fixture
def tasks(fixtures):
    today = fixtures.acme.day_of(timezone.now())
    with inside(fixtures.acme):
        made = {
            title: create_task(fixtures.ada, fixtures.apollo, title=title, **values)
            for title, values in {
                "urgent": {"priority": "high", "due_on": today},
                "bob's": {"assignee": fixtures.bob.user, "status": "in_progress"},
                "blocked": {"blocked_by": [fixtures.task], "due_on": today - timedelta(days=1)},
                "at noon": {"due_date": timezone.now()},
            }.items()
        }
    return made


@pytest.fixture
def browser(browser, tasks):
    return browser


def columns_of(response):
    assert response.status_code == 200, response.content
    return {c.value: sorted(t.title for t in c.tasks) for c in response.context["columns"]}


def test_columns_are_statuses_with_the_tasks_of_the_filters(browser):
    assert columns_of(browser.get(BOARD)) == {
        "todo": ["Launch", "at noon", "blocked", "urgent"],
        "in_progress": ["bob's"],
        "done": [],
    }
    narrowed = browser.get(f"{BOARD}?{urlencode({'where': 'priority=high'})}")
    assert columns_of(narrowed)["todo"] == ["urgent"]


def test_columns_by_assignee_have_open_tasks_only(fixtures, browser, tasks):
    with inside(fixtures.acme):
        update_task(fixtures.ada, tasks["bob's"], status="done")

    columns = columns_of(browser.get(f"{BOARD}?group=assignee"))

    assert columns["none"] == ["at noon", "blocked", "urgent"]
    assert [tasks for value, tasks in columns.items() if value != "none"] == [["Launch"]]


def test_board_of_a_project_by_assignee_has_its_members_without_tasks(fixtures, browser, tasks):
    address = f"{BOARD}?group=assignee&{urlencode({'where': 'project=APO'})}"

    columns = columns_of(browser.get(address))

    assert columns[str(fixtures.carl.user.pk)] == []
    assert columns[str(fixtures.bob.user.pk)] == ["bob's"]
    assert str(fixtures.eve.user.pk) not in columns
    moved = browser.post(address, {"task": tasks["urgent"].pk, "to": fixtures.carl.user.pk})
    assert moved.status_code == 302
    assert columns_of(browser.get(address))[str(fixtures.carl.user.pk)] == ["urgent"]
    named = f"{BOARD}?group=assignee&{urlencode({'where': 'project=APO&assignee=@bob'})}"
    assert str(fixtures.carl.user.pk) not in columns_of(browser.get(named))


@pytest.mark.parametrize("name", ["board", "calendar", "quick-add", "shortcuts"])
def test_heading_of_a_page_of_tasks_leads_to_the_list(browser, name):
    response = browser.get(f"/admin/tasks/task/{name}/")

    heading = re.search(r"<h1.*?</h1>", response.content.decode(), re.DOTALL)[0]
    assert 'href="/admin/tasks/task/"' in heading
    assert str(response.context["title"]) in heading


@pytest.mark.parametrize("query", [{}, {"group": "assignee"}, {"where": "status_not=done"}])
def test_count_of_a_column_leads_to_exactly_its_tasks(browser, query):
    response = browser.get(f"{BOARD}?{urlencode(query)}")

    for column in response.context["columns"]:
        if column.count:
            listed = browser.get(column.address).context["cl"].result_list
            assert sorted(t.title for t in listed) == sorted(t.title for t in column.tasks)


def test_moving_a_card_changes_the_status_as_the_api_does(fixtures, browser, tasks):
    moved = browser.post(BOARD, {"task": tasks["urgent"].pk, "to": "in_progress"}, follow=True)

    assert columns_of(moved)["in_progress"] == ["bob's", "urgent"]
    assert "is now: In" in moved.content.decode()
    with inside(fixtures.acme):
        event = Event.objects.filter(subject_id=tasks["urgent"].pk).latest("id")
        assert (event.via, event.changes["status"]) == ("admin", ["todo", "in_progress"])


def test_moving_a_card_between_people_assigns_the_task(fixtures, browser, tasks):
    address = f"{BOARD}?group=assignee"
    browser.post(address, {"task": tasks["urgent"].pk, "to": fixtures.bob.user.pk})
    browser.post(address, {"task": tasks["bob's"].pk, "to": "none"})

    with inside(fixtures.acme):
        assert Task.objects.get(title="urgent").assignee == fixtures.bob.user
        assert Task.objects.get(title="bob's").assignee is None


@pytest.mark.parametrize(
    ("title", "to", "words"),
    [
        ("blocked", "done", "open"),
        ("urgent", "{eve}", "member"),
        ("urgent", "999999", "no such column"),
        ("urgent", "", "no such column"),
        ("nothing", "done", "no such task"),
    ],
)
def test_refused_move_is_shown_as_a_sentence_and_changes_nothing(
    fixtures, browser, tasks, title, to, words
):
    task = tasks[title].pk if title in tasks else "999999"
    body = {"task": task, "to": to.format(eve=fixtures.eve.user.pk)}

    page = browser.post(BOARD, body, follow=True).content.decode()

    assert words in page
    assert "force=true" not in page
    with inside(fixtures.acme):
        assert not Task.objects.filter(status="done").exists()
        assert Task.objects.get(title="urgent").assignee is None


def test_every_card_has_a_keyboard_alternative_with_a_name(browser, tasks):
    page = browser.get(BOARD).content.decode()

    assert page.count('draggable="true"') == 5
    names = re.findall(r'aria-label="(?:Column of|Move) (APO-\d+)"', page)
    assert sorted(names) == sorted([f"APO-{n}" for n in range(1, 6)] * 2)


def test_full_column_is_cut_with_a_link_to_the_rest(fixtures, browser):
    with inside(fixtures.acme):
        for n in range(25):
            create_task(fixtures.ada, fixtures.apollo, title=f"more {n}")

    page = browser.get(BOARD)

    (todo, *_rest) = page.context["columns"]
    assert (len(todo.tasks), todo.count) == (20, 29)
    assert "9 more tasks" in page.content.decode()


def test_board_of_a_stored_view_has_its_columns(fixtures, browser):
    with inside(fixtures.acme):
        view = create_view(
            fixtures.boss,
            name="People <b>",
            where={"status_not": ["done"]},
            layout=Layout.BOARD,
            group_by="assignee",
        )

    page = browser.get(f"{BOARD}?{urlencode({'where': f'view={view.pk}'})}")

    assert "none" in columns_of(page)
    assert "People &lt;b&gt;" in page.content.decode()
    (tab,) = (tab for tab in page.context["tabs"].selections if tab.is_active)
    assert tab.title == "People <b>"


# session, user and tenant; counts, cards of each column with any, users; views; notifications
PAGES = ((BOARD, 9), (f"{BOARD}?group=assignee", 11), (CALENDAR, 7))


@pytest.mark.slow
def test_pages_take_the_same_number_of_statements_for_many_tasks(
    fixtures, browser, assert_statements
):
    for address, statements in PAGES:
        browser.get(address)
        with assert_statements(statements):
            browser.get(address)
    with inside(fixtures.acme):
        for n in range(15):
            create_task(fixtures.ada, fixtures.apollo, title=f"more {n}", due_on="2026-12-01",
                        assignee=fixtures.bob.user)  # fmt: skip
    for address, statements in PAGES:
        with assert_statements(statements):
            browser.get(address)


# ---- calendar -----------------------------------------------------------------------------------


def test_calendar_shows_tasks_on_their_days_and_links_to_them(fixtures, browser):
    page = browser.get(CALENDAR)

    today = fixtures.acme.day_of(timezone.now())
    (cell,) = (day for week in page.context["weeks"] for day in week if day.is_today)
    assert cell.day == today
    assert sorted(task.title for task in cell.tasks) == ["at noon", "urgent"]
    listed = browser.get(cell.address).context["cl"].result_list
    assert sorted(task.title for task in listed) == ["at noon", "urgent"]


@pytest.mark.parametrize("month", ["2026-02", "2027-12", "1970-01", "x", "2026-13", "9999-12"])
def test_every_month_of_the_calendar_can_be_opened(browser, month):
    assert browser.get(f"{CALENDAR}?month={month}").status_code == 200


# ---- people -------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", [BOARD, CALENDAR])
def test_filters_that_the_api_refuses_are_answered_with_400(browser, address):
    assert browser.get(f"{address}?where=colour%3Dred").status_code == 400


@pytest.mark.parametrize("address", [BOARD, CALENDAR])
def test_pages_need_a_sign_in(fixtures, client, address):
    response = client.get(address, SERVER_NAME="acme.localhost")

    assert response.status_code == 302
    assert "/login/" in response["Location"]


def test_user_of_another_tenant_sees_no_task(fixtures, tasks, client):
    with inside(fixtures.globex):
        sign_in_browser(client, fixtures.mallory.user)
    page = client.get(BOARD, SERVER_NAME="globex.localhost")

    assert "urgent" not in page.content.decode()


# ---- pages of views -----------------------------------------------------------------------------


def test_member_saves_the_filters_of_the_list_as_a_view(fixtures, tasks, client):
    client.defaults["SERVER_NAME"] = "acme.localhost"
    with inside(fixtures.acme):
        sign_in_browser(client, fixtures.bob.user)
    page = client.get(list_address(assignee="me", metadata_not="x", status_not="done"))
    assert page.status_code == 400
    page = client.get(list_address(assignee="me", status_not="done", due_before="7d"))
    form = client.get(page.context["tabs"].save_address)
    assert form.context["adminform"].form["where"].value() == (
        "assignee=me&status_not=done&due_before=7d"
    )

    body = {"name": "My week", "where": form.context["adminform"].form["where"].value(),
            "layout": "list", "group_by": "status", "sort": ""}  # fmt: skip
    saved = client.post("/admin/tasks/view/add/", body)

    assert saved.status_code == 302, saved.content.decode()
    with inside(fixtures.acme):
        view = View.objects.get(name="My week")
        assert view.owner == fixtures.bob.user
        assert view.where == {
            "assignee": ["me"],
            "status_not": ["done"],
            "due_before": "7d",
        }
    tabs = client.get("/admin/tasks/task/").context["tabs"].selections
    (tab,) = (tab for tab in tabs if tab.title == "My week")
    assert client.get(tab.address).status_code == 200


def test_filters_of_the_panel_are_saved_and_kept_on_the_board(fixtures, browser, tasks):
    query = {"status__exact": "todo", "priority__exact": "high", "where": "created_by=@ada",
             "project__id__exact": fixtures.apollo.pk,
             "assignee__id__exact": fixtures.bob.user.pk}  # fmt: skip
    page = browser.get(f"/admin/tasks/task/?{urlencode(query)}")

    tabs = page.context["tabs"]
    form = browser.get(tabs.save_address).context["adminform"].form
    where = "created_by=@ada&status=todo&priority=high&project=APO&assignee=@bob"
    assert unquote(form["where"].value()) == where
    (board,) = (tab for tab in tabs.layouts if tab.address.startswith(BOARD))
    assert parse_qs(urlsplit(board.address).query) == {"where": [form["where"].value()]}
    foreign = browser.get("/admin/tasks/task/?project__id__exact=999999999")
    assert foreign.context["tabs"].save_address is None


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("colour=red", "colour"),
        ("project=NOPE", "NOPE"),
        ("project=1", "key or handle"),
        ("", "required"),
        ("metadata.a=1&metadata.a.b=2", "keys below it"),
    ],
)
def test_form_of_a_view_refuses_what_the_api_refuses(browser, where, words):
    body = {"name": "x", "where": where, "layout": "list", "group_by": "status", "sort": ""}

    page = browser.post("/admin/tasks/view/add/", body)

    assert page.status_code == 200
    assert words in page.content.decode()


def test_view_of_another_user_can_be_read_and_not_changed(fixtures, tasks, client):
    with inside(fixtures.acme):
        shared = create_view(fixtures.ada, name="S", where={"tag": ["bug"]}, is_shared=True)
        own = create_view(fixtures.ada, name="O", where={"tag": ["bug"]})
        sign_in_browser(client, fixtures.bob.user)
    client.defaults["SERVER_NAME"] = "acme.localhost"
    page = client.get(f"/admin/tasks/view/{shared.pk}/change/")

    assert page.status_code == 200
    assert not page.context["has_change_permission"]
    assert client.get(f"/admin/tasks/view/{own.pk}/change/").status_code in (302, 404)


def test_edited_view_keeps_what_the_form_does_not_change(fixtures, browser):
    where = {"metadata": {"build": {"a.b": ["12", 12, True]}}, "tag": ["x&y", "z"], "ready": True}
    with inside(fixtures.acme):
        view = create_view(fixtures.boss, name="O", where=where)
    form = browser.get(f"/admin/tasks/view/{view.pk}/change/").context["adminform"].form

    body = {name: form[name].value() or "" for name in ("where", "layout", "group_by", "sort")}
    browser.post(f"/admin/tasks/view/{view.pk}/change/", body | {"name": "New", "row_version": 1})

    with inside(fixtures.acme):
        stored = View.objects.get(pk=view.pk)
        assert (stored.name, stored.where) == ("New", where)
