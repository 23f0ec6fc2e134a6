"""Quick add and the search of the admin: what a person may see and do, and nothing else."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from conftest import sign_in_browser
from taskflow.audit.models import Event
from taskflow.tenancy import inside
from tasks.actions.pages import create_page
from tasks.actions.projects import create_project
from tasks.actions.views import create_view
from tasks.changes.tasks import create_task
from tasks.models import Task

pytestmark = pytest.mark.one_database

QUICK = "/admin/tasks/task/quick-add/"


@pytest.fixture
def rows(fixtures):
    with inside(fixtures.acme):
        hidden = create_project(fixtures.boss, name="Rocket hidden", key="HID")
        create_task(fixtures.boss, hidden, title="Rocket of the boss")
        create_page(fixtures.boss, hidden, title="Rocket page", is_published=True)
        create_task(fixtures.ada, fixtures.apollo, title="Rocket fuel <b>")
        create_page(fixtures.ada, fixtures.apollo, title="Rocket plan", is_published=True)
        create_view(fixtures.ada, name="Rocket view", where={"tag": ["x"]}, is_shared=True)
        create_view(fixtures.ada, name="Rocket of Ada", where={"tag": ["x"]})
    with inside(fixtures.globex):
        other = create_project(fixtures.mallory, name="Rocket of Globex", key="GLO")
        create_task(fixtures.mallory, other, title="Rocket elsewhere")
    return fixtures


@pytest.fixture
def browser(rows, client):
    client.defaults["SERVER_NAME"] = "acme.localhost"
    with inside(rows.acme):
        sign_in_browser(client, rows.bob.user)
    return client


def found(client, words):
    response = client.get("/admin/search/", {"s": words, "extended": "1"})
    assert response.status_code == 200
    return [result.title for result in response.context["results"]]


# ---- search -------------------------------------------------------------------------------------


def test_search_finds_what_the_user_may_see_and_nothing_else(browser):
    assert found(browser, "rocket") == ["APO-2 Rocket fuel <b>", "Rocket plan", "Rocket view"]


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ("apo-1", "APO-1 Launch"),
        ("APO-2", "APO-2 Rocket fuel <b>"),
        ("apo", "APO Apollo"),
        ("apoll", "APO Apollo"),
        ("@ada", "@ada Ada Lovelace"),
        ("quick", "Quick add"),
        ("overd", "Overdue"),
        ("shortc", "Keyboard shortcuts"),
    ],
)
def test_search_finds_keys_people_and_actions(browser, words, first):
    titles = found(browser, words)

    assert titles, words
    assert titles[0].startswith(first.split(" Ada")[0])


@pytest.mark.parametrize("words", ["", " ", "zzz", "x " * 60, '"', "½", "%"])
def test_search_without_results_says_so(browser, words):
    assert found(browser, words) == []


@pytest.mark.parametrize("words", ["\0", "é" * 5000])
def test_search_for_words_that_cannot_be_stored_is_no_server_error(browser, words):
    response = browser.get("/admin/search/", {"s": words, "extended": "1"})

    assert response.status_code < 500


def test_results_are_escaped_and_not_kept_for_another_request(rows, browser):
    page = browser.get("/admin/search/", {"s": "rocket", "extended": "1"}).content.decode()
    assert "Rocket fuel &lt;b&gt;" in page

    with inside(rows.acme):
        Task.objects.filter(title__startswith="Rocket fuel").update(deleted_at=timezone.now())

    assert found(browser, "rocket") == ["Rocket plan", "Rocket view"]


def test_search_needs_a_sign_in(rows, client):
    response = client.get("/admin/search/?s=rocket&extended=1", SERVER_NAME="acme.localhost")

    assert response.status_code == 302


# ---- quick add ----------------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["", "board/", "calendar/", "timeline/"])
def test_pages_of_tasks_link_to_quick_add(rows, browser, page):
    shown = browser.get(f"/admin/tasks/task/{page}").content.decode()

    assert f'<a href="{QUICK}">Quick add</a>' in shown


def test_line_becomes_a_task_as_by_the_api(rows, browser):
    line = "Pack flag #luggage @ada !high tomorrow APO"

    page = browser.post(QUICK, {"line": line}, follow=True).content.decode()

    assert "Pack flag" in page
    with inside(rows.acme):
        task = Task.objects.get(title="Pack flag")
        today = rows.acme.day_of(timezone.now())
        assert (task.priority, task.assignee, task.due_on) == (
            "high",
            rows.ada.user,
            today + timedelta(days=1),
        )
        assert [tag.name for tag in task.tags.all()] == ["luggage"]
        event = Event.objects.get(subject_type="task", subject_id=task.pk)
        assert (event.via, event.actor) == ("admin", rows.bob.user)


def test_only_project_is_the_default_one(rows, browser):
    preview = browser.get(QUICK, {"line": "Pack flag", "preview": "1"})

    assert preview.context["draft"].task.project == "APO"
    assert "<html" not in preview.content.decode()
    assert "Pack flag" in preview.content.decode()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "no title"),
        ("Pack @nobody", "nobody"),
        ("Pack @eve", "not a member"),
        ("Pack !urgent", "no priority"),
        ("Pack " + "#" + "x" * 101, "100"),
        ("x" * 600, "500"),
        ("Pack @ada @bob", "one assignee"),
    ],
)
def test_line_that_cannot_be_a_task_is_refused_with_a_sentence(rows, browser, line, words):
    page = browser.post(QUICK, {"line": line})

    assert page.status_code == 200
    assert words in page.content.decode()
    with inside(rows.acme):
        assert not Task.objects.filter(title__startswith="Pack").exists()


def test_key_of_a_hidden_project_is_a_part_of_the_title(rows, browser):
    browser.post(QUICK, {"line": "Pack HID"})

    with inside(rows.acme):
        assert Task.objects.get(title="Pack HID").project == rows.apollo


def test_people_without_a_project_get_a_sentence(rows, client):
    with inside(rows.acme):
        sign_in_browser(client, rows.eve.user)

    page = client.get(QUICK, {"line": "Pack"}, SERVER_NAME="acme.localhost").content.decode()

    assert "no active project in which you can create tasks" in page


def test_page_of_shortcuts_lists_the_keys_of_the_script(browser):
    page = browser.get("/admin/tasks/task/shortcuts/").content.decode()

    for key in ("c", "?", "/", "g b"):
        assert f"<kbd>{key}</kbd>" in page


def test_pages_take_a_constant_number_of_statements(rows, browser, assert_statements):
    browser.get("/admin/search/?s=rocket&extended=1")
    with assert_statements(9):
        browser.get("/admin/search/?s=rocket&extended=1")
    # session, user and tenant; projects; assignee and project, by name and as rows
    with assert_statements(9):
        browser.get(QUICK, {"line": "Pack @ada", "preview": "1"})
