"""Digests: who gets one, when, what is in it, and how to end them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.core import mail
from django.test import Client

from accounts.models import Tenant, User
from taskflow.tenancy import inside
from tasks.actions.unsubscribing import sign_unsubscription
from tasks.models import Notification, NotificationPreference
from tasks.scheduled import digests
from tasks.scheduled.digests import find_due, send_digest

MONDAY = datetime(2026, 11, 30, 8, 0, tzinfo=UTC)


@pytest.fixture
def send(fixtures, mailbox):
    """Send the digests that are due at a time, and return the mails."""

    def send(now=MONDAY) -> list:
        mail.outbox = []
        tenant = Tenant.objects.get(pk=fixtures.acme.pk)
        for pk in find_due(tenant, tenant.day_of(now)):
            send_digest(tenant, pk, now)
        return mail.outbox

    return send


@pytest.fixture
def subscribe(fixtures):
    def subscribe(user=fixtures.bob.user, digest="daily"):
        with inside(fixtures.acme):
            NotificationPreference.store(user, {"digest": digest})

    return subscribe


@pytest.fixture
def notify(fixtures):
    def notify(count=1, **values):
        defaults = {"user": fixtures.bob.user, "kind": "assigned", "task": fixtures.task}
        with inside(fixtures.acme):
            Notification.objects.add(Notification(**(defaults | values)) for _ in range(count))

    return notify


def test_daily_digest_has_what_is_unread_once(fixtures, send, subscribe, notify):
    subscribe()
    notify(actor=fixtures.ada.user)
    notify(user=fixtures.ada.user)

    (sent,) = send()

    assert sent.to == [fixtures.bob.user.email]
    assert sent.subject == f"1 new notification in {fixtures.acme.name}"
    page = f"https://tasks.example/admin/tasks/task/{fixtures.task.pk}/change/"
    assert "APO-1 Launch" in sent.body
    assert "assigned the task to you." in sent.body
    assert page in sent.body
    (html, mime_type) = sent.alternatives[0]
    assert mime_type == "text/html"
    assert f'href="{page}"' in html
    assert send(MONDAY + timedelta(hours=3)) == []
    assert send(MONDAY + timedelta(days=1)) == []  # nothing is new
    notify()
    assert len(send(MONDAY + timedelta(days=2))) == 1


def test_weekly_digest_is_sent_on_monday_or_later_in_the_week(fixtures, send, subscribe, notify):
    subscribe(digest="weekly")
    notify()
    assert len(send(MONDAY)) == 1
    notify()

    assert send(MONDAY + timedelta(days=6)) == []
    assert len(send(MONDAY + timedelta(days=8))) == 1


def test_read_and_invisible_notifications_are_left_out(fixtures, as_, send, subscribe, notify):
    subscribe()
    notify(read_at=MONDAY)
    notify()
    as_(fixtures.ada).delete(f"/api/v1/tasks/{fixtures.task.pk}")

    assert send() == []


def test_text_of_people_is_escaped_in_html(fixtures, as_, send, subscribe, notify):
    as_(fixtures.ada).patch(f"/api/v1/tasks/{fixtures.task.pk}", {"title": "<b>x</b> & y"})
    subscribe()
    notify()

    (sent,) = send()

    assert "&lt;b&gt;x&lt;/b&gt; &amp; y" in sent.alternatives[0][0]
    assert "<b>x</b> & y" in sent.body


def test_nobody_else_gets_a_digest(fixtures, send, subscribe, notify):
    subscribe(digest="off")
    subscribe(fixtures.bot.user)  # an agent without an e-mail
    subscribe(fixtures.carl.user)
    for user in (fixtures.bob.user, fixtures.bot.user, fixtures.carl.user):
        notify(user=user)
    with inside(fixtures.acme):
        User.objects.filter(handle="carl").update(is_active=False)

    assert send() == []


def test_long_digest_is_cut_and_counts_the_rest(fixtures, send, subscribe, notify, monkeypatch):
    monkeypatch.setattr(digests, "MAX_LINES", 2)
    subscribe()
    notify(5)

    (sent,) = send()

    assert sent.subject.startswith("5 new notifications")
    assert "And 3 more notifications." in sent.body
    assert sent.body.count("APO-1") == 2


def test_digest_that_the_mail_server_refuses_is_sent_by_the_next_run(
    fixtures, send, subscribe, notify, monkeypatch
):
    subscribe()
    notify()
    with monkeypatch.context() as patched:
        patched.setattr(digests, "deliver", lambda mail: False)
        assert send() == []

    assert len(send()) == 1


# ---- ending them --------------------------------------------------------------------------------


def digest_of(fixtures) -> str:
    with inside(fixtures.acme):
        return str(NotificationPreference.of(fixtures.bob.user).digest)


@pytest.fixture
def browser() -> Client:
    return Client(SERVER_NAME="acme.tasks.example", enforce_csrf_checks=True)


def unsubscribe_link(sent) -> str:
    return str(sent.extra_headers["List-Unsubscribe"])[1:-1].removeprefix("https://tasks.example")


def test_mail_program_ends_the_digests_with_one_request(fixtures, send, subscribe, notify, browser):
    subscribe()
    notify()
    (sent,) = send()
    assert sent.extra_headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"

    answer = browser.post(
        unsubscribe_link(sent), "List-Unsubscribe=One-Click", "application/x-www-form-urlencoded"
    )

    assert answer.status_code == 200
    assert digest_of(fixtures) == "off"


def test_opening_the_link_changes_nothing(fixtures, send, subscribe, notify, browser):
    subscribe()
    notify()
    (sent,) = send()

    answer = browser.get(unsubscribe_link(sent))

    assert answer.status_code == 200
    assert "Unsubscribe" in answer.content.decode()
    assert digest_of(fixtures) == "daily"


@pytest.mark.parametrize("change", ["x", "", "other tenant", "signature"])
def test_other_links_change_nothing(fixtures, subscribe, mailbox, browser, change):
    subscribe()
    with inside(fixtures.acme):
        token = sign_unsubscription(fixtures.acme, fixtures.bob.user)
        foreign = sign_unsubscription(fixtures.globex, fixtures.bob.user)
    sent = {"x": "x", "": "", "other tenant": foreign, "signature": token[:-2]}[change]

    answer = browser.post(f"/admin/unsubscribe/?token={sent}")

    assert answer.status_code == 404
    assert digest_of(fixtures) == "daily"
