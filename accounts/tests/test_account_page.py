"""The page “My account” of the admin: password, second factor and sessions."""

from __future__ import annotations

import re
import time

import pyotp
import pytest
from django.test import Client

from accounts.models import Session, User
from conftest import PASSWORD, ApiClient, new_tenant, person
from taskflow.tenancy import inside

pytestmark = pytest.mark.one_database

PAGE = "/admin/account/"
NEW = f"another {PASSWORD}"


@pytest.fixture
def boss(db):
    return new_tenant("acme", "boss", PASSWORD)


def open_browser(password: str = PASSWORD) -> Client:
    browser = Client()
    browser.post("/admin/login/", {"username": "boss@acme.example", "password": password})
    return browser


def press(browser: Client, button: str, **form: str):
    return browser.post(PAGE, {"action": button, **form})


def text_of(response) -> str:
    return response.content.decode()


@pytest.fixture
def browser(boss):
    return open_browser()


def test_page_needs_a_sign_in_and_is_in_the_menu(boss, browser):
    assert Client().get(PAGE).url.startswith("/admin/login/")
    assert f'href="{PAGE}"' in text_of(browser.get("/admin/"))
    assert "no second factor" in text_of(browser.get(PAGE))


def test_new_password_ends_the_other_sessions_and_not_this_one(boss, browser):
    other = open_browser()
    form = {"old_password": PASSWORD, "new_password1": NEW, "new_password2": NEW}

    r = browser.post("/admin/password_change/", form)

    assert r.status_code == 302, r.content
    assert (browser.get(PAGE).status_code, other.get(PAGE).status_code) == (200, 302)
    assert open_browser(NEW).get(PAGE).status_code == 200


def test_second_factor_is_enrolled_renewed_and_removed(boss, browser):
    password = {"factor-current_password": PASSWORD}
    page = text_of(press(browser, "begin", **password))
    secret = re.search(r">([A-Z2-7]{32})<", page)[1]
    assert "<svg" in page
    assert "wrong" not in page

    refused = text_of(press(browser, "confirm", otp="000000"))
    confirmed = text_of(press(browser, "confirm", otp=pyotp.TOTP(secret).at(int(time.time()))))
    codes = re.findall(r"<code>([A-Z2-7-]{19})</code>", confirmed)

    assert secret in refused
    assert len(codes) == 10
    assert "10 recovery codes left" in text_of(browser.get(PAGE))
    renewed = text_of(press(browser, "renew", **password))
    assert not set(codes) & set(re.findall(r"<code>([A-Z2-7-]{19})</code>", renewed))
    assert press(browser, "remove", **password).url == PAGE
    assert "no second factor" in text_of(browser.get(PAGE))


@pytest.mark.parametrize("button", ["begin", "renew", "remove"])
def test_change_of_the_second_factor_without_the_password_is_refused(browser, button):
    r = press(browser, button, **{"factor-current_password": "wrong"})

    assert "not your current password" in text_of(r)


@pytest.mark.slow
def test_sessions_are_ended_one_by_one_and_together(boss, browser):
    others = [open_browser() for _ in range(3)]
    with inside(boss.tenant):
        newest = Session.objects.latest("pk").pk

    press(browser, "end_one", session=str(newest))
    assert [b.get(PAGE).status_code for b in others] == [200, 200, 302]
    press(browser, "end_others")

    assert [b.get(PAGE).status_code for b in (*others, browser)] == [302, 302, 302, 200]


@pytest.mark.parametrize("session", ["", "0", "x", "½", str(2**63), "-1"])
def test_unknown_session_and_unknown_button_change_nothing(boss, browser, session):
    assert press(browser, "end_one", session=session).url == PAGE
    assert press(browser, "explode").url == PAGE
    assert browser.get(PAGE).status_code == 200


def test_session_of_a_colleague_is_not_ended(boss, browser):
    with inside(boss.tenant):
        person(boss, "ada", PASSWORD)
    body = {"email": "ada@acme.example", "password": PASSWORD}
    ada = ApiClient(ApiClient().post("/auth/login", body).json()["token"])
    with inside(boss.tenant):
        theirs = Session.objects.get(user__handle="ada").pk

    press(browser, "end_one", session=str(theirs))

    assert ada.get("/me").status_code == 200


def test_administrator_ends_the_sessions_of_users_in_the_list(boss, browser):
    with inside(boss.tenant):
        ada = person(boss, "ada", PASSWORD).user
    body = {"email": "ada@acme.example", "password": PASSWORD}
    client = ApiClient(ApiClient().post("/auth/login", body).json()["token"])

    browser.post("/admin/accounts/user/", {"action": "end_sessions", "_selected_action": [ada.pk]})

    assert client.get("/me").status_code == 401


def test_operator_in_another_tenant_changes_nothing_here(boss):
    platform = new_tenant("platform", "root", PASSWORD)
    with inside(platform.tenant):
        User.objects.filter(pk=platform.user.pk).update(is_superuser=True)
    browser = Client(SERVER_NAME="platform.localhost")
    browser.post("/admin/login/", {"username": "root@platform.example", "password": PASSWORD})
    chosen = {"action": "work_here", "_selected_action": [boss.tenant.pk]}
    browser.post("/admin/accounts/tenant/", chosen)

    assert browser.get(PAGE).status_code == 200
    assert press(browser, "begin", **{"factor-current_password": PASSWORD}).url == PAGE
    assert "platform" in text_of(browser.get(PAGE))
