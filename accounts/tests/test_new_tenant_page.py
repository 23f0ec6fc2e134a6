"""The page on which an operator adds a tenant."""

from __future__ import annotations

import re

import pytest
from django.test import Client

from accounts.actions.tenants import create_operator
from accounts.auth import ACTING_TENANT
from accounts.models import Tenant, User
from accounts.tests.test_create_tenant import sign_in
from conftest import PASSWORD, sign_in_browser
from taskflow.audit.models import Event
from taskflow.tenancy import inside

pytestmark = pytest.mark.one_database

PAGE = "/admin/accounts/tenant/add/"
VALUES = {
    "tenant_name": "Initech",
    "subdomain": "initech",
    "full_name": "Ira",
    "email": "ira@initech.example",
}


@pytest.fixture
def operator(fixtures):
    """A browser in which an operator works in Acme."""
    user = create_operator(email="op@platform.example", full_name="Op", password=PASSWORD)
    browser = Client(SERVER_NAME="platform.localhost")
    with inside(user.tenant):
        sign_in_browser(browser, user)
    stored = browser.session
    stored[ACTING_TENANT] = fixtures.acme.pk
    stored.save()
    return browser


def test_operator_adds_a_tenant_and_its_owner_sets_a_password(operator):
    page = operator.post(PAGE, VALUES)

    path = re.search(r"https?://[^/]+(/admin/password-reset/[^<]+)", page.content.decode())[1]
    assert "no-store" in page.headers["Cache-Control"]
    owner = Client(SERVER_NAME="initech.localhost")
    owner.post(path, {"token": path.partition("=")[2], "password": PASSWORD})
    assert sign_in(PASSWORD) == 200


def test_new_tenant_is_recorded_with_its_operator(operator):
    operator.post(PAGE, VALUES)

    with inside(Tenant.objects.get(subdomain="initech")):
        (owner,) = User.objects.all()
        event = Event.objects.order_by("pk")[0]
    assert owner.is_staff
    assert (event.verb, event.via, event.actor_id) == ("created", "admin", None)
    assert event.operator_id is not None


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"subdomain": "globex"}, "This subdomain is taken."),
        ({"subdomain": "www"}, "cannot be a subdomain"),
        ({"subdomain": "a.b"}, "only lower-case letters"),
        ({"email": "nobody"}, "e-mail"),
        ({"tenant_name": ""}, "required"),
    ],
)
def test_wrong_value_is_shown_with_the_reason_and_creates_nothing(operator, values, sentence):
    before = Tenant.objects.count()

    page = operator.post(PAGE, VALUES | values)

    assert page.status_code == 200
    assert sentence in page.content.decode()
    assert Tenant.objects.count() == before


def test_administrator_of_a_tenant_adds_none(fixtures):
    browser = Client()
    with inside(fixtures.acme):
        sign_in_browser(browser, fixtures.boss.user)
    before = Tenant.objects.count()

    assert browser.get(PAGE).status_code == 403
    assert browser.post(PAGE, VALUES).status_code == 403
    assert Tenant.objects.count() == before


def test_list_of_tenants_has_the_button_for_operators_only(operator, fixtures):
    browser = Client()
    with inside(fixtures.acme):
        sign_in_browser(browser, fixtures.boss.user)

    assert PAGE in operator.get("/admin/accounts/tenant/").content.decode()
    assert PAGE not in browser.get("/admin/accounts/tenant/").content.decode()
