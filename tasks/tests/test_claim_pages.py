"""The page of the admin that shows who works on what."""

from __future__ import annotations

import pytest
from django.urls import reverse

from accounts.actions.users import update_user
from taskflow.tenancy import inside
from tasks.models import Claim, Task
from tasks.tests.factories import ClaimFactory

pytestmark = pytest.mark.one_database
PASSWORD = "staple for all horses"
LIST = "/admin/tasks/claim/"


@pytest.fixture
def claim(fixtures):
    with inside(fixtures.acme):
        return ClaimFactory(actor=fixtures.bot, project=fixtures.apollo, worker="host7/3")


@pytest.fixture
def admin(fixtures, client, mailbox):
    with inside(fixtures.acme):
        update_user(fixtures.boss, fixtures.boss.user, password=PASSWORD)
    mailbox.collect()  # the notice of the new password
    client.post("/admin/login/", {"username": "boss@acme.example", "password": PASSWORD})
    return client


def test_list_shows_the_worker_and_its_task(claim, admin):
    page = admin.get(LIST)

    assert page.status_code == 200
    for text in ("Who works on what", "To claim", "host7/3", "works", "minutes ago"):
        assert text in page.text


def test_page_of_a_claim_leads_to_the_history_of_its_task(claim, admin):
    assert admin.get(reverse("admin:tasks_claim_change", args=[claim.pk])).status_code == 200
    history = admin.get(reverse("admin:tasks_claim_history", args=[claim.pk]), follow=True)

    assert history.redirect_chain[-1][0] == reverse(
        "admin:tasks_task_history", args=[claim.task_id]
    )
    assert "claimed" in history.text
    assert "To claim" in history.text


def test_broken_claim_gives_the_task_back_and_leaves_the_list(fixtures, claim, admin):
    sent = {"action": "break_selected", "_selected_action": [claim.pk]}

    assert admin.post(LIST, sent).status_code == 302

    with inside(fixtures.acme):
        task = Task.objects.get(pk=claim.task_id)
        assert (task.status, task.assignee, task.claim_id) == ("todo", None, None)
        assert Claim.objects.get(pk=claim.pk).end == "broken"
    assert "host7/3" not in admin.get(LIST).text


def test_worker_that_was_asked_to_stop_is_shown_as_such(claim, admin):
    admin.post(LIST, {"action": "cancel_selected", "_selected_action": [claim.pk]})

    assert "asked to stop" in admin.get(LIST).text
