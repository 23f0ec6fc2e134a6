"""The admin shows the text of a new token on one page only, and stores it nowhere."""

from __future__ import annotations

import re

import pytest
from django.contrib.sessions.models import Session
from django.test import Client

from accounts.models import ApiToken
from conftest import ApiClient, sign_in_browser
from taskflow.tenancy import inside

pytestmark = pytest.mark.one_database

SHOWN_TOKEN = re.compile(r"data-token>(tf_\d+_\w+)<")


@pytest.fixture
def browser(fixtures):
    client = Client(SERVER_NAME="acme.localhost")
    with inside(fixtures.acme):
        sign_in_browser(client, fixtures.boss.user)
    return client


def create_token(fixtures, browser):
    data = {
        "user": fixtures.boss.user.pk,
        "name": "ci",
        "scope": "read",
        "expires_in_days": "30",
    }
    return browser.post("/admin/accounts/apitoken/add/", data)


def replace_tokens(browser, *tokens):
    data = {"action": "rotate", "_selected_action": [token.pk for token in tokens]}
    return browser.post("/admin/accounts/apitoken/", data)


def shown_tokens(response):
    assert response.status_code == 200, response.headers
    return SHOWN_TOKEN.findall(response.content.decode())


def token_named(fixtures, name):
    with inside(fixtures.acme):
        return ApiToken.objects.filter(name=name).first()


def assert_not_stored(browser, text):
    """No cookie, no session and no later page contains the text."""
    for cookie in browser.cookies.values():
        assert text not in cookie.value
    for session in Session.objects.all():
        assert text not in str(session.get_decoded())
    assert text not in browser.get("/admin/accounts/apitoken/").content.decode()


def test_new_token_is_shown_by_the_response_only(fixtures, browser):
    response = create_token(fixtures, browser)

    (text,) = shown_tokens(response)
    assert ApiClient(text).get("/me").status_code == 200
    assert "no-store" in response.headers["Cache-Control"]
    assert_not_stored(browser, text)


def test_tokens_that_replace_others_are_shown_by_the_response_only(fixtures, browser):
    create_token(fixtures, browser)

    response = replace_tokens(browser, token_named(fixtures, "ci"))

    (text,) = shown_tokens(response)
    assert ApiClient(text).get("/me").status_code == 200
    assert_not_stored(browser, text)


def test_refused_replacement_shows_the_reason_and_no_token(fixtures, browser):
    create_token(fixtures, browser)
    token = token_named(fixtures, "ci")
    browser.post("/admin/accounts/apitoken/", {"action": "revoke", "_selected_action": [token.pk]})

    response = replace_tokens(browser, token)

    assert response.status_code == 302
    assert "revoked" in browser.get(response.headers["Location"]).content.decode()
