"""The inbox in the admin, with its badge in the menu."""

from __future__ import annotations

import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from conftest import sign_in_browser
from taskflow.tenancy import inside
from tasks.models import Notification, NotificationPreference

PAGE = "/admin/inbox/"

pytestmark = pytest.mark.one_database


@pytest.fixture
def bob(fixtures) -> Client:
    """The browser of a member who is no administrator."""
    browser = Client(SERVER_NAME="acme.localhost")
    with inside(fixtures.acme):
        sign_in_browser(browser, fixtures.bob.user)
    return browser


@pytest.fixture
def notify(fixtures):
    def notify(**values):
        defaults = {"user": fixtures.bob.user, "kind": "assigned", "task": fixtures.task}
        with inside(fixtures.acme):
            return Notification.objects.create(**(defaults | values))

    return notify


def read(browser, path=PAGE) -> str:
    answer = browser.get(path)
    assert answer.status_code == 200
    return answer.content.decode()


def test_member_sees_own_notifications_with_key_title_and_link(fixtures, bob, notify):
    notify(actor=fixtures.ada.user)
    notify(user=fixtures.ada.user, kind="overdue")

    page = read(bob)

    assert f'href="/admin/tasks/task/{fixtures.task.pk}/change/">APO-1 Launch</a>' in page
    assert "assigned the task to you." in page
    assert "overdue" not in page.split('id="preferences"')[0]


def read_entry(browser) -> str:
    """The entry of the inbox in the menu."""
    return read(browser, "/admin/").split(f'href="{PAGE}"')[1].split("</a>")[0]


def read_menu(browser) -> str:
    """The entry of the inbox in the menu, without tags."""
    return " ".join(re.sub(r"<[^>]*>", " ", f"<a{read_entry(browser)}").split())


def test_menu_shows_the_number_of_unread_notifications(fixtures, bob, notify):
    assert read_menu(bob) == "notifications Inbox"
    for _ in range(3):
        notify()

    assert read_menu(bob) == "notifications Inbox 3"


def test_menu_has_no_empty_badge_without_unread_notifications(fixtures, bob, notify):
    assert "<b>" not in read_entry(bob)
    notify()

    assert "<b>1</b>" in read_entry(bob)


def test_marking_one_and_all_as_read(fixtures, bob, notify):
    first, shown = notify(), notify()
    of_ada = notify(user=fixtures.ada.user)
    bob.post(PAGE, {"action": "mark_one", "notification": first.pk})
    later = notify()

    answer = bob.post(PAGE, {"action": "mark_all", "up_to": shown.pk}, follow=True)

    assert "1 notification is marked as read." in answer.content.decode()
    with inside(fixtures.acme):
        unread = set(Notification.objects.unread().values_list("pk", flat=True))
    assert unread == {later.pk, of_ada.pk}
    bob.post(PAGE, {"action": "mark_one", "notification": of_ada.pk})
    with inside(fixtures.acme):
        assert Notification.objects.unread().filter(pk=of_ada.pk).exists()
    assert read(bob).count("APO-1 Launch</a>") == 1
    assert read(bob, f"{PAGE}?all=1").count("APO-1 Launch</a>") == 3


def test_preferences_are_stored(fixtures, bob):
    form = {"action": "store_preferences", "digest": "weekly", "kinds": ["assigned", "mentioned"]}

    answer = bob.post(PAGE, form, follow=True)

    assert "Your preferences are stored." in answer.content.decode()
    with inside(fixtures.acme):
        stored = NotificationPreference.of(fixtures.bob.user)
    assert (stored.digest, stored.muted) == (
        "weekly",
        ["unblocked", "overdue", "handed_back", "needs_input"],
    )


def test_digest_without_mail_is_refused_in_words(fixtures, bob, settings):
    settings.SENDS_MAIL = False

    answer = bob.post(PAGE, {"action": "store_preferences", "digest": "daily", "kinds": []})

    assert "This installation sends no e-mail." in answer.content.decode()


def test_length_of_the_inbox_does_not_change_the_number_of_statements(fixtures, bob, notify):
    notify()
    read(bob)
    first = statements_of(lambda: read(bob))
    for _ in range(5):
        notify()

    assert statements_of(lambda: read(bob)) == first


def statements_of(call) -> int:
    with CaptureQueriesContext(connection) as captured:
        call()
    return len(captured)


def test_usage_page_has_numbers_and_limits_for_administrators_only(fixtures, bob, settings):
    settings.QUOTAS = {"tasks": 4}
    boss = Client(SERVER_NAME="acme.localhost")
    with inside(fixtures.acme):
        sign_in_browser(boss, fixtures.boss.user)

    page = " ".join(re.sub(r"<[^>]*>", " ", read(boss, "/admin/usage/")).split())

    assert "Tasks 1 (25 %) 4" in page
    assert "Projects 1 none" in page
    assert bob.get("/admin/usage/").status_code == 403


def test_page_names_its_buttons(bob, notify):
    notify()

    assert 'aria-label="Mark as read: APO-1 Launch"' in read(bob)
