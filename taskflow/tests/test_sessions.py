"""Sessions of the admin may call the API. Requests from other sites are refused."""

from __future__ import annotations

import re

import pytest
from django.conf import settings
from django.test import Client

from accounts.models import User
from conftest import PASSWORD, ApiClient, new_tenant, token_of
from taskflow.tenancy import inside

pytestmark = pytest.mark.one_database


@pytest.fixture
def boss(db):
    return new_tenant("acme", "boss", PASSWORD)


@pytest.fixture
def browser(boss):
    client = Client(SERVER_NAME="localhost", enforce_csrf_checks=True)
    page = client.get("/admin/login/").content.decode()
    masked = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)[1]
    data = {"username": "boss@acme.example", "password": PASSWORD, "csrfmiddlewaretoken": masked}
    assert client.post("/admin/login/", data).status_code == 302
    return client


def csrf(client):
    return {"X-CSRFToken": client.cookies[settings.CSRF_COOKIE_NAME].value}


def call(client, method, path, body=None, **kwargs):
    kwargs = {"content_type": "application/json"} | kwargs
    data = "" if body is None and method != "get" else body
    return getattr(client, method)(f"/api/v1{path}", data, **kwargs)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("post", "/tags", {"name": "x"}, 201),
        ("patch", "/me", {"full_name": "x"}, 200),
        ("delete", "/tags/999", None, 404),
        ("put", "/tags/999", {}, 404),
    ],
)
def test_writing_with_a_session_needs_the_csrf_token(browser, method, path, body, status):
    refused = call(browser, method, path, body)
    wrong = call(browser, method, path, body, headers={"X-CSRFToken": "a" * 32})
    in_body = call(
        browser, method, path, (body or {}) | {"csrfmiddlewaretoken": csrf(browser)["X-CSRFToken"]}
    )

    r = call(browser, method, path, body, headers=csrf(browser))

    for refusal in (refused, wrong):
        assert (refusal.status_code, refusal.json()["code"]) == (403, "csrf_failed")
    expected = (422, "unexpected_body") if method == "delete" else (403, "csrf_failed")
    assert (in_body.status_code, in_body.json()["code"]) == expected
    assert r.status_code == status, r.content


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data",
     "multipart/form-data; boundary=", "multipart/form-data; boundary=x"],
)  # fmt: skip
def test_content_types_of_cross_site_forms_are_refused(browser, kind):
    r = call(browser, "post", "/tags", "name=x", content_type=kind)

    assert r.status_code in (400, 403, 415)
    assert r.headers["Content-Type"] == "application/problem+json"


def test_reading_needs_no_csrf_token(browser):
    assert call(browser, "get", "/me").json()["handle"] == "boss"
    assert call(browser, "head", "/me").status_code == 200


def test_request_without_cookie_or_token_is_refused(boss):
    client = Client(SERVER_NAME="localhost", enforce_csrf_checks=True)

    for method in ("get", "post"):
        r = call(client, method, "/tags")
        assert (r.status_code, r.json()["code"]) == (401, "unauthenticated"), "not “CSRF failed”"


def test_token_needs_no_csrf_token_and_takes_precedence_over_the_cookie(browser, boss):
    other = new_tenant("globex", "mallory")

    r = call(browser, "get", "/me", headers={"Authorization": f"Bearer {token_of(other)}"})

    assert r.json()["handle"] == "mallory"
    client = Client(enforce_csrf_checks=True, headers={"Authorization": f"Bearer {token_of(boss)}"})
    assert call(client, "post", "/tags", {"name": "x"}).status_code == 201


def test_invalid_token_is_refused_despite_a_valid_session_cookie(browser):
    r = call(browser, "get", "/me", headers={"Authorization": "Bearer tf_1_x"})

    assert r.status_code == 401


@pytest.mark.parametrize("change", [{"is_active": False}, {"password": "scrypt$x"}])
def test_session_ends_when_its_user_or_the_password_changes(browser, boss, change):
    with inside(boss.tenant):
        User.objects.filter(pk=boss.user.pk).update(**change)

    assert call(browser, "get", "/me").status_code == 401


def test_signing_out_of_the_admin_ends_the_session(browser):
    page = {"csrfmiddlewaretoken": csrf(browser)["X-CSRFToken"]}

    assert browser.post("/admin/logout/", page).status_code in (200, 302)

    assert call(browser, "get", "/me").status_code == 401


def test_deactivated_user_gets_no_session(boss):
    body = {"email": "eve@acme.example", "password": PASSWORD}
    api = ApiClient(token_of(boss))
    eve = api.post("/users", body).json()["id"]
    assert api.patch(f"/users/{eve}", {"is_active": False}).status_code == 200
    client = Client(SERVER_NAME="localhost")

    r = client.post("/admin/login/", {"username": body["email"], "password": PASSWORD})

    assert r.status_code == 200
    assert settings.SESSION_COOKIE_NAME not in client.cookies
    assert call(client, "get", "/me").status_code == 401


def test_session_is_refused_at_the_host_of_another_tenant(browser):
    new_tenant("globex", "mallory")
    elsewhere = Client(SERVER_NAME="globex.localhost")
    elsewhere.cookies = browser.cookies

    assert elsewhere.get("/api/v1/me").status_code == 401
    elsewhere.cookies[settings.SESSION_COOKIE_NAME] = "forged"
    assert elsewhere.get("/api/v1/me").status_code == 401
