"""The admin pages of webhooks and deliveries."""

from __future__ import annotations

import re

import pytest

from conftest import sign_in_browser
from taskflow.tenancy import inside
from tasks.actions.webhooks import create_webhook, ping
from tasks.models import Delivery, Webhook

pytestmark = pytest.mark.one_database

URL = "https://hooks.example.com/x"


@pytest.fixture
def browser(fixtures, client, settings):
    settings.DEFAULT_TENANT = "acme"
    with inside(fixtures.acme):
        sign_in_browser(client, fixtures.boss.user)
    return client


def act(browser, model, name, ids):
    data = {"action": name, "_selected_action": ids}
    return browser.post(f"/admin/tasks/{model}/", data)


def test_new_webhook_shows_its_secret_on_one_page(fixtures, browser):
    data = {"url": URL, "project": fixtures.apollo.pk, "event_types": "task.completed\ntask.moved"}

    r = browser.post("/admin/tasks/webhook/add/", data)

    with inside(fixtures.acme):
        webhook = Webhook.objects.get()
        assert (webhook.url, webhook.project_id) == (URL, fixtures.apollo.pk)
        assert webhook.event_types == ["task.completed", "task.moved"]
        assert webhook.owner_id == fixtures.boss.user.pk
    shown = re.search(r"data-secret>(\S+)</p>", r.content.decode())
    assert shown[1].replace("&#x2B;", "+").replace("&#43;", "+") == webhook.secret
    for path in ("", f"{webhook.pk}/change/", f"{webhook.pk}/history/"):
        page = browser.get(f"/admin/tasks/webhook/{path}")
        assert page.status_code == 200
        assert webhook.secret not in page.content.decode()
        assert webhook.salt not in page.content.decode()


def test_refused_url_is_shown_at_its_field(fixtures, browser):
    r = browser.post("/admin/tasks/webhook/add/", {"url": "https://127.0.0.1/", "event_types": ""})

    assert r.status_code == 200
    assert "private network" in r.content.decode()
    with inside(fixtures.acme):
        assert not Webhook.objects.exists()


def test_webhook_is_changed_paused_resumed_and_pinged(fixtures, browser):
    with inside(fixtures.acme):
        webhook = create_webhook(fixtures.ada, url=URL, project=fixtures.apollo)

    browser.post(
        f"/admin/tasks/webhook/{webhook.pk}/change/", {"url": f"{URL}/2", "event_types": ""}
    )
    act(browser, "webhook", "pause", [webhook.pk])
    with inside(fixtures.acme):
        paused = Webhook.objects.get()
    act(browser, "webhook", "resume", [webhook.pk])
    act(browser, "webhook", "ping", [webhook.pk])
    rotated = act(browser, "webhook", "rotate", [webhook.pk])

    assert (paused.url, paused.state) == (f"{URL}/2", "paused")
    assert "data-secret" in rotated.content.decode()
    with inside(fixtures.acme):
        assert Webhook.objects.get().state == "active"
        assert Delivery.objects.get().event_type == "ping"


def test_log_of_deliveries_shows_results_and_sends_again(fixtures, browser):
    with inside(fixtures.acme):
        webhook = create_webhook(fixtures.ada, url=URL, project=fixtures.apollo)
        delivery = ping(fixtures.ada, webhook)
        Delivery.objects.update(
            state="delivered", response_status=200, response_start="<b>fine</b>", attempts=1
        )

    listed = browser.get("/admin/tasks/delivery/").content.decode()
    detail = browser.get(f"/admin/tasks/delivery/{delivery.pk}/change/").content.decode()
    act(browser, "delivery", "send_again", [delivery.pk])

    assert "delivered" in listed
    assert "&lt;b&gt;fine&lt;/b&gt;" in detail
    with inside(fixtures.acme):
        assert Delivery.objects.get().state == "pending"
