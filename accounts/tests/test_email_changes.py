"""Changing one's own e-mail: the new one takes effect when the link sent to it is followed."""

from __future__ import annotations

import pytest
from django.utils import timezone

from accounts.actions.users import create_user, deactivate_user
from accounts.models import ApiToken, MailToken, User
from conftest import ApiClient, token_of
from taskflow.tenancy import inside

pytestmark = pytest.mark.one_database
PASSWORD = "staple for all horses"
NEW = "ada.new@acme.example"
COMPLETION = "/auth/email-changes/completion"
PAGE = "/admin/email-confirmation/"


@pytest.fixture
def ada(fixtures, as_):
    with inside(fixtures.acme):
        fixtures.ada.user.set_password(PASSWORD)
        User.objects.filter(pk=fixtures.ada.user.pk).update(password=fixtures.ada.user.password)
    return as_(fixtures.ada)


def change_email(client, email=NEW):
    return client.patch("/me", {"email": email, "current_password": PASSWORD})


def link_in(mails):
    (message,) = [one for one in mails if "token=" in one.body]
    return message, message.body.partition("token=")[2].split()[0]


def complete(token):
    return ApiClient().post(COMPLETION, {"token": token})


def can_sign_in(email):
    body = {"email": email, "password": PASSWORD}
    return ApiClient().post("/auth/login", body).status_code == 200


def test_new_email_waits_for_its_link_and_the_old_one_gets_notices(fixtures, ada, mailbox, events):
    r = change_email(ada)

    assert (r.status_code, r.json()["email"]) == (200, "ada@acme.example")
    mails = mailbox.collect()
    message, token = link_in(mails)
    assert message.to == [NEW]
    (notice,) = [one for one in mails if one is not message]
    assert notice.to == ["ada@acme.example"]
    assert NEW in notice.body
    assert token not in notice.body
    assert can_sign_in("ada@acme.example")
    assert not can_sign_in(NEW)

    assert complete(token).status_code == 204

    assert can_sign_in(NEW)
    assert not can_sign_in("ada@acme.example")
    assert complete(token).status_code == 422
    (notice,) = mailbox.collect()
    assert notice.to == ["ada@acme.example"]
    (event,) = [e for e in events(fixtures.acme, subject_type="user") if "email" in e.changes
                and e.verb != "created"]  # fmt: skip
    assert event.changes == {"email": ["ada@acme.example", NEW]}
    assert event.actor_id == fixtures.ada.user.pk


def test_confirmation_ends_every_token_and_every_other_link(fixtures, ada, mailbox):
    change_email(ada)
    _, token = link_in(mailbox.collect())
    ApiClient().post("/auth/password-resets", {"email": "ada@acme.example"})
    mailbox.collect()

    complete(token)

    assert ada.get("/me").status_code == 401
    with inside(fixtures.acme):
        assert not ApiToken.objects.filter(user=fixtures.ada.user).live(timezone.now()).exists()
        assert not MailToken.objects.exists()


def test_taken_email_is_refused_at_once_and_when_it_was_taken_since(fixtures, ada, mailbox):
    assert change_email(ada, "bob@acme.example").status_code == 409
    assert mailbox.collect() == []
    change_email(ada)
    _, token = link_in(mailbox.collect())
    with inside(fixtures.acme):
        create_user(fixtures.boss, email=NEW)

    assert complete(token).status_code == 409


def test_link_of_a_deactivated_user_does_not_work(fixtures, ada, mailbox):
    change_email(ada)
    _, token = link_in(mailbox.collect())
    with inside(fixtures.acme):
        deactivate_user(fixtures.boss, fixtures.ada.user)

    assert complete(token).status_code == 422


def test_reset_of_the_password_ends_the_link(fixtures, ada, mailbox):
    change_email(ada)
    _, token = link_in(mailbox.collect())
    ApiClient().post("/auth/password-resets", {"email": "ada@acme.example"})
    body = {"token": mailbox.collect_token(), "password": "another good passphrase"}
    ApiClient().post("/auth/password-resets/completion", body)

    assert complete(token).status_code == 422


def test_without_a_mail_server_the_email_changes_at_once(fixtures, ada, settings):
    settings.SENDS_MAIL = False

    assert change_email(ada).json()["email"] == NEW


def test_page_confirms_with_its_button_alone(ada, mailbox, client):
    change_email(ada)
    _, token = link_in(mailbox.collect())

    assert NEW in client.get(PAGE, {"token": token}).text
    assert not can_sign_in(NEW)
    assert "confirmed" in client.post(PAGE, {"token": token}).text
    assert can_sign_in(NEW)
    assert client.get(PAGE, {"token": token}).status_code == 404


def test_dry_run_sends_nothing(ada, mailbox):
    body = {"email": NEW, "current_password": PASSWORD}

    assert ada.patch("/me?dry_run=true", body).status_code == 200
    assert mailbox.collect() == []


# ---- notices ------------------------------------------------------------------------------------


def test_owner_gets_notices_of_a_password_a_token_and_changes_by_an_administrator(
    fixtures, ada, as_, mailbox
):
    token = ada.post("/tokens", {"name": "mine"}).json()
    new = "another good passphrase"
    ada.post("/me/password", {"current_password": PASSWORD, "new_password": new})

    of_token, of_password = mailbox.collect()

    assert of_token.to == of_password.to == ["ada@acme.example"]
    assert "“mine”" in of_token.body
    assert token["token"] not in of_token.body
    assert "Your password was changed" in of_password.body
    assert new not in of_password.body
    assert "https://tasks.example/admin/password-reset/" in of_password.body


def test_token_of_an_agent_and_a_sign_in_send_no_notice(fixtures, ada, as_, mailbox):
    assert ada.post("/tokens", {"name": "bots", "user": "@bot"}).status_code == 201
    can_sign_in("ada@acme.example")
    token_of(fixtures.ada)

    assert mailbox.collect() == []
