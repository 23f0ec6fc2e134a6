"""Limits of password resets, and notices of sign-ins from new places."""

from __future__ import annotations

import pytest

from accounts.models import User
from conftest import ApiClient
from taskflow.tenancy import inside

pytestmark = pytest.mark.one_database
PASSWORD = "staple for all horses"
RESETS = "/auth/password-resets"


@pytest.fixture
def ada(fixtures):
    with inside(fixtures.acme):
        fixtures.ada.user.set_password(PASSWORD)
        User.objects.filter(pk=fixtures.ada.user.pk).update(password=fixtures.ada.user.password)


def ask(email="ada@acme.example", address="192.0.2.1"):
    return ApiClient(REMOTE_ADDR=address).post(RESETS, {"email": email})


def sign_in(address, password=PASSWORD):
    body = {"email": "ada@acme.example", "password": password}
    return ApiClient(REMOTE_ADDR=address).post("/auth/login", body).status_code


@pytest.mark.parametrize("email", ["ada@acme.example", "nobody@acme.example"])
def test_sixth_request_for_one_account_is_refused_from_any_address(fixtures, mailbox, email):
    statuses = [ask(email, f"192.0.2.{n}").status_code for n in range(6)]

    assert statuses == [202] * 5 + [429]
    assert ask("bob@acme.example", "192.0.2.9").status_code == 202


def test_sixth_request_from_one_address_is_refused_for_any_account(fixtures, mailbox):
    statuses = [ask(f"u{n}@acme.example").status_code for n in range(6)]

    r = ask("bob@acme.example")

    assert statuses == [202] * 5 + [429]
    assert (r.status_code, r.json()["code"]) == (429, "too_many_attempts")
    assert int(r.headers["Retry-After"]) > 0


def test_page_shows_the_limit_and_sends_nothing(fixtures, mailbox, client):
    for _ in range(5):
        client.post("/admin/password-reset/", {"email": "ada@acme.example"})
    assert len(mailbox.collect()) == 5

    r = client.post("/admin/password-reset/", {"email": "ada@acme.example"})

    assert r.status_code == 429
    assert "too many requests for a new password" in r.text
    assert mailbox.collect() == []


def test_person_who_has_reset_the_password_signs_in_despite_the_limit(ada, mailbox):
    for n in range(6):
        sign_in(f"198.51.100.{n}", "wrong")
    assert sign_in("192.0.2.1") == 429
    ask()
    body = {"token": mailbox.collect_token(), "password": "another good passphrase"}
    client = ApiClient(REMOTE_ADDR="192.0.2.1")

    assert client.post(f"{RESETS}/completion", body).status_code == 204

    assert sign_in("192.0.2.1", "another good passphrase") == 200
    assert sign_in("192.0.2.2", "another good passphrase") == 429


def test_sign_in_from_a_new_address_sends_one_notice(ada, mailbox):
    sign_in("192.0.2.1")
    sign_in("192.0.2.1")
    assert mailbox.collect() == []  # the first place is no news

    sign_in("192.0.2.7")
    sign_in("192.0.2.7")

    notice = mailbox.collect_one()
    assert notice.to == ["ada@acme.example"]
    assert "192.0.2.7" in notice.body


def test_addresses_of_one_ipv6_network_are_one_place(ada, mailbox):
    sign_in("2001:db8::1")
    sign_in("2001:db8::2")

    assert mailbox.collect() == []
