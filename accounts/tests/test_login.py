"""Signing in: how the tenant is named, how passwords are stored, simultaneous registrations."""

from __future__ import annotations

import json
import logging
from unicodedata import normalize

import pytest
from django.contrib.auth.hashers import make_password
from django.db import IntegrityError

from accounts.actions import tenants as tenant_actions
from accounts.actions import users as user_actions
from accounts.models import Tenant, User, UserKind
from conftest import PASSWORD, ApiClient, new_tenant, person
from taskflow import settings as written
from taskflow.audit.actor import Actor
from taskflow.logging import JsonFormatter
from taskflow.tenancy import inside

pytestmark = pytest.mark.one_database


@pytest.fixture
def ada(db):
    new_tenant("globex", "mallory", PASSWORD)
    boss = new_tenant("acme", "boss", PASSWORD)
    with inside(boss.tenant):
        return person(boss, "ada", PASSWORD)


def login(client=None, **body):
    sent = {"email": "ada@acme.example", "password": PASSWORD} | body
    return (client or ApiClient()).post("/auth/login", sent)


@pytest.mark.parametrize(
    ("host", "header", "body", "status"),
    [
        ("ACME.localhost", None, None, 200),
        ("acme.localhost:8000", None, None, 200),
        ("acme.localhost.", None, None, 200),
        ("127.0.0.1", "ACME", None, 200),
        ("[::1]:8000", None, "Acme", 200),
        ("acme.localhost", "acme", "acme", 200),
        ("globex.localhost", None, None, 401),
        ("globex.localhost.", None, None, 401),  # not the default tenant
        ("acme.localhost", None, "globex", 404),
        ("localhost", "acme", "globex", 404),
        ("nobody.localhost", None, None, 404),
        ("a.acme.localhost", None, None, 404),
        ("localhost", None, "nobody", 404),
        ("localhost", "nobody", None, 404),
        ("acme.evil.example", None, None, 400),
        ("acme.localhost.evil.example", None, None, 400),
    ],
)
def test_signing_in_needs_host_header_and_body_to_name_one_tenant(ada, host, header, body, status):
    headers = {"HTTP_HOST": host} | ({"HTTP_X_TENANT": header} if header else {})

    r = login(ApiClient(**headers), **({"tenant": body} if body else {}))

    assert r.status_code == status, r.content


def test_signing_in_to_inactive_tenant_is_refused(ada):
    token = login().json()["token"]
    Tenant.objects.filter(pk=ada.tenant.pk).update(is_active=False)

    assert login().status_code == 404
    assert ApiClient(token).get("/me").status_code == 401


def test_agent_cannot_sign_in(ada):
    with inside(ada.tenant):
        boss = Actor(User.objects.get(handle="boss"), ada.tenant)
        user_actions.create_user(boss, kind=UserKind.AGENT, email="bot@acme.example", handle="bot")

    responses = [login(email="bot@acme.example", password=p) for p in ("", "x", PASSWORD)]

    assert [r.status_code for r in responses] == [422, 401, 401]


def test_white_space_in_password_is_kept(ada):
    client = ApiClient(login().json()["token"])
    spaced = "  a spaced battery "

    client.post("/me/password", {"current_password": PASSWORD, "new_password": spaced})

    assert login(password=spaced).status_code == 200
    assert login(password=spaced.strip()).status_code == 401


@pytest.mark.slow
def test_passwords_are_hashed_with_scrypt(db, settings):
    settings.PASSWORD_HASHERS = written.PASSWORD_HASHERS
    boss = new_tenant("acme", "boss", PASSWORD)

    r = login(email="boss@acme.example")

    assert r.status_code == 200
    assert boss.user.password.startswith("scrypt$")


def test_log_line_of_sign_in_names_the_user(ada, caplog):
    caplog.set_level(logging.INFO)

    login()

    lines = [json.loads(JsonFormatter().format(r)) for r in caplog.records]
    (line,) = [x for x in lines if x["logger"] == "taskflow.request"]
    assert (line["tenant"], line["user"]) == (ada.tenant.pk, ada.user.pk)
    assert PASSWORD not in json.dumps(lines)


# ---- registering --------------------------------------------------------------------------------

BODY = {
    "tenant_name": "Initech",
    "subdomain": "initech",
    "full_name": "Peter G",
    "email": "peter@initech.example",
    "password": PASSWORD,
}


def test_events_of_registration_share_one_request_id(db, events):
    r = ApiClient().post("/auth/register", BODY, headers={"X-Request-Id": "first.1"})

    made = events(Tenant.objects.get(subdomain="initech"))
    assert r.status_code == 201
    assert {e.request_id for e in made} == {"first.1"}


def test_second_registration_of_subdomain_is_refused(fixtures):
    """The unique constraint decides, so two simultaneous requests cannot both succeed."""
    r = ApiClient().post("/auth/register", BODY | {"subdomain": "globex"})

    assert (r.status_code, r.json()["code"]) == (409, "taken")
    assert Tenant.objects.count() == 2


@pytest.mark.parametrize("error", [IntegrityError("x"), RuntimeError("x")])
def test_failed_registration_leaves_no_tenant(db, monkeypatch, error):
    def fail(*args):
        raise error

    monkeypatch.setattr(tenant_actions, "save_new_user", fail)

    assert ApiClient().post("/auth/register", BODY).status_code in (409, 500)
    assert not Tenant.objects.exists()


@pytest.mark.parametrize("path", ["/auth/register", "/auth/login"])
def test_empty_body_is_refused_without_credentials(db, path):
    r = ApiClient().post(path, {})

    assert (r.status_code, r.json()["code"]) == (422, "validation_failed")
    assert PASSWORD not in r.content.decode()


@pytest.mark.parametrize("stored_form", ["NFC", "NFD", "NFKC", "as typed"])
def test_password_is_accepted_in_each_form_that_keyboards_compose(ada, stored_form):
    """A password that was stored before passwords were normalized is accepted as it was typed."""
    typed = "Ｃafé ﬁrst Straße"
    with inside(ada.tenant):
        user = User.objects.get(pk=ada.user.pk)
        if stored_form == "as typed":
            user.password = make_password(typed)
        else:
            user.set_password(normalize(stored_form, typed))
        User.objects.filter(pk=user.pk).update(password=user.password)

    assert login(password=typed).status_code in (200, 201)
    if stored_form != "as typed":
        for form in ("NFC", "NFD", "NFKC", "NFKD"):
            assert login(password=normalize(form, typed)).status_code in (200, 201)
    assert login(password=typed.upper()).status_code == 401
