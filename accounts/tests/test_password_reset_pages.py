"""Setting a forgotten password by a link in a mail: on the pages."""

from __future__ import annotations

import pytest

from accounts.actions.users import update_user
from accounts.models import MailToken
from conftest import PASSWORD, ApiClient
from taskflow.tenancy import inside

pytestmark = pytest.mark.one_database
NEW = "staple for all horses"
PAGE = "/admin/password-reset/"
COMPLETION = f"{PAGE}completion/"


@pytest.fixture
def token(fixtures, mailbox, client):
    client.post(PAGE, {"email": "ada@acme.example"})
    return mailbox.collect_token()


def has_password(password, email="ada@acme.example"):
    return (
        ApiClient().post("/auth/login", {"email": email, "password": password}).status_code == 200
    )


def test_sign_in_page_links_to_the_page(fixtures, client):
    assert f'href="{PAGE}"' in client.get("/admin/login/").text
    assert "Send the link" in client.get(PAGE).text


def test_opening_the_link_uses_nothing_up_and_the_button_does(token, client):
    for _ in range(2):
        r = client.get(COMPLETION, {"token": token})
        assert "ada@acme.example" in r.text
        assert r["Cache-Control"] == "private, no-store"
        assert "Content-Encoding" not in r

    done = client.post(COMPLETION, {"token": token, "password": NEW})

    assert "Sign in with your new password" in done.text
    assert has_password(NEW)
    again = client.post(COMPLETION, {"token": token, "password": "another good passphrase"})
    assert (again.status_code, "does not work" in again.text) == (404, True)
    assert has_password(NEW)


def test_weak_password_is_explained_and_the_link_still_works(token, client):
    r = client.post(COMPLETION, {"token": token, "password": "password"})

    assert "too common" in r.text
    assert not has_password("password")
    assert client.post(COMPLETION, {"token": token, "password": NEW}).status_code == 200
    assert has_password(NEW)


def test_unknown_email_gets_the_same_page(fixtures, mailbox, client):
    known = client.post(PAGE, {"email": "ada@acme.example"})
    assert mailbox.collect_one().to == ["ada@acme.example"]
    unknown = client.post(PAGE, {"email": "abc@acme.example"})

    assert mailbox.collect() == []
    assert unknown.text.replace("abc@", "ada@") == known.text


def test_email_without_an_at_sign_is_refused(fixtures, mailbox, client):
    r = client.post(PAGE, {"email": "ada"})

    assert "Enter an e-mail address" in r.text
    with inside(fixtures.acme):
        assert not MailToken.objects.exists()


def test_page_of_another_tenant_does_not_take_the_link(token, client):
    r = client.get(COMPLETION, {"token": token}, headers={"Host": "globex.tasks.example"})

    assert r.status_code == 404


def test_reset_ends_the_session_of_an_administrator(fixtures, mailbox, client, settings):
    with inside(fixtures.acme):
        update_user(fixtures.boss, fixtures.ada.user, password=PASSWORD, is_staff=True)
    login = {"username": "ada@acme.example", "password": PASSWORD}
    host = {"Host": "acme.tasks.example"}
    settings.SECURE_SSL_REDIRECT = settings.SESSION_COOKIE_SECURE = False
    client.post("/admin/login/", login, headers=host)
    assert client.get("/admin/", headers=host).status_code == 200
    mailbox.collect()  # the notice of the new password
    client.post(PAGE, {"email": "ada@acme.example"}, headers=host)
    token = mailbox.collect_token()

    client.post(COMPLETION, {"token": token, "password": NEW}, headers=host)

    assert client.get("/admin/", headers=host).status_code == 302


def test_page_says_that_no_mail_is_sent(fixtures, client, settings):
    settings.SENDS_MAIL = False

    r = client.post(PAGE, {"email": "ada@acme.example"})

    assert "sends no e-mail" in r.text
