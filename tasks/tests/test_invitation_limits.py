"""Limits of the mails that users let TaskFlow send: invitations, and links to a new e-mail."""

from __future__ import annotations

import pytest
from django.conf import settings as django_settings

from accounts.models import User
from conftest import PASSWORD, ApiClient, sign_in_browser, token_of
from taskflow.audit import quotas
from taskflow.tenancy import inside
from tasks.models.invitations import Invitation

pytestmark = pytest.mark.one_database


@pytest.fixture
def boss(fixtures, mailbox, as_):
    return as_(fixtures.boss)


def invite(client, n=0, **values):
    return client.post("/invitations", {"email": f"n{n}@x.example"} | values)


def assert_limited(response, what):
    assert (response.status_code, response.json()["code"]) == (429, "too_many_attempts")
    assert f"too many {what}" in response.json()["detail"]
    assert int(response.headers["Retry-After"]) > 0


def test_twenty_invitations_at_once_are_sent_and_no_more(fixtures, boss, mailbox, as_):
    statuses = [invite(boss, n).status_code for n in range(20)]

    assert statuses == [201] * 20
    assert_limited(invite(boss, 20), "invitations")
    assert len(mailbox.collect()) == 20
    assert invite(as_(fixtures.mallory)).status_code == 201  # of another tenant


def test_one_address_gets_five_mails_at_once_and_no_more(boss, mailbox):
    sent = invite(boss).json()["id"]

    statuses = [boss.post(f"/invitations/{sent}/resending").status_code for _ in range(4)]

    assert statuses == [200] * 4
    assert_limited(boss.post(f"/invitations/{sent}/resending"), "invitations")
    boss.delete(f"/invitations/{sent}")
    assert_limited(invite(boss), "invitations")
    assert len(mailbox.collect()) == 5
    assert invite(boss, 1).status_code == 201


@pytest.mark.slow
def test_planned_invitation_counts_although_it_is_rolled_back(boss, mailbox):
    for n in range(20):
        planned = boss.plan("post", "/invitations", {"email": f"n{n}@x.example"})
        assert planned["status"] == 201

    assert_limited(invite(boss, 21), "invitations")
    assert mailbox.collect() == []


@pytest.mark.slow
def test_admin_shows_the_limit_and_sends_nothing(fixtures, boss, mailbox, client):
    with inside(fixtures.acme):
        sign_in_browser(client, fixtures.boss.user)
    pk = invite(boss).json()["id"]
    mailbox.collect()
    data = {"action": "resend", "_selected_action": [pk]}
    url = "/admin/tasks/invitation/"

    pages = [client.post(url, data, follow=True).content.decode() for _ in range(5)]

    assert ["too many invitations" in page for page in pages] == [False] * 4 + [True]
    assert len(mailbox.collect()) == 4


def test_person_lets_five_links_to_a_new_email_be_sent_and_no_more(fixtures, mailbox):
    """To five addresses that have nothing to do with the person."""
    with inside(fixtures.acme):
        fixtures.ada.user.set_password(PASSWORD)
        User.objects.filter(pk=fixtures.ada.user.pk).update(password=fixtures.ada.user.password)
    results = []
    for n in range(6):
        ada = ApiClient(token_of(fixtures.ada))  # each request ends the other tokens
        body = {"email": f"victim{n}@x.example", "current_password": PASSWORD}
        results.append(ada.patch("/me", body))

    assert [r.status_code for r in results[:5]] == [200] * 5
    assert_limited(results[5], "changes of your e-mail")
    sent = [to for message in mailbox.collect() for to in message.to]
    assert sum(to.startswith("victim") for to in sent) == 5


def test_open_invitations_count_for_the_quota_of_users(fixtures, boss, monkeypatch):
    quotas.forget_counts()
    with inside(fixtures.acme):
        used = User.objects.filter(is_active=True).count()
    monkeypatch.setattr(django_settings, "QUOTAS", {"users": used + 2})
    assert [invite(boss, n).status_code for n in range(2)] == [201, 201]

    r = invite(boss, 2)

    assert (r.status_code, r.json()["code"]) == (403, "quota_exceeded")
    with inside(fixtures.acme):
        first = Invitation.objects.order_by("pk").first()
    boss.delete(f"/invitations/{first.pk}")
    assert invite(boss, 2).status_code == 201
    quotas.forget_counts()
