"""Limits of the codes of second factors, and the notices of their changes to the owner."""

from __future__ import annotations

import pytest
from django.core.management import call_command
from django.test import Client

from accounts.models import Tenant
from accounts.tests.test_second_factor import CURRENT, code_of, enrol, login
from conftest import PASSWORD, ApiClient, new_tenant, person, token_of
from taskflow.tenancy import inside

pytestmark = pytest.mark.one_database

WRONG = {"otp": "000000"}
CONFIRMATION = "/me/second-factor/confirmation"


@pytest.fixture
def boss(db):
    return new_tenant("acme", "boss", PASSWORD)


@pytest.fixture
def ada(boss):
    with inside(boss.tenant):
        return person(boss, "ada", PASSWORD)


@pytest.fixture
def client(ada):
    return ApiClient(token_of(ada))


def assert_limited(response):
    assert (response.status_code, response.json()["code"]) == (429, "too_many_attempts")
    assert "too many codes" in response.json()["detail"]


def test_sixth_wrong_code_of_a_sign_in_is_refused(ada, client):
    secret, _ = enrol(client)

    statuses = [login(otp="000000").status_code for _ in range(5)]

    assert statuses == [401] * 5
    assert_limited(login(otp=code_of(secret)))


def test_sixth_wrong_code_of_an_enrolment_is_refused(client):
    """A token alone could otherwise try all codes of an enrolment that its owner has begun."""
    secret = client.post("/me/second-factor", CURRENT).json()["secret"]

    statuses = [client.post(CONFIRMATION, WRONG).status_code for _ in range(5)]

    assert statuses == [422] * 5
    assert_limited(client.post(CONFIRMATION, {"otp": code_of(secret)}))
    assert login().status_code == 200  # the codes of signing in are counted apart


def test_sixth_wrong_code_of_an_enrolment_in_the_admin_is_refused(boss):
    Tenant.objects.update(second_factor_required=True)
    browser = Client()
    browser.post("/admin/login/", {"username": "boss@acme.example", "password": PASSWORD})
    browser.post("/admin/login/enrolment/", {})

    responses = [browser.post("/admin/login/enrolment/", WRONG) for _ in range(6)]

    assert [r.status_code for r in responses] == [200] * 5 + [429]
    assert "too many codes" in responses[-1].content.decode()


def test_page_of_the_code_shows_the_limit(ada, client):
    enrol(client)
    with inside(ada.tenant):
        type(ada.user).objects.filter(pk=ada.user.pk).update(is_staff=True)
    browser = Client()
    sign_in = {"username": "ada@acme.example", "password": PASSWORD}
    browser.post("/admin/login/", sign_in)

    responses = [browser.post("/admin/login/code/", WRONG) for _ in range(4)]
    responses += [login(otp="000000"), browser.post("/admin/login/code/", WRONG)]

    assert [r.status_code for r in responses] == [200] * 4 + [401, 429]
    assert "too many codes" in responses[-1].content.decode()


def test_owner_gets_a_notice_of_each_change_of_the_second_factor(ada, client, mailbox):
    enrol(client)
    assert "A second factor was set up" in mailbox.collect_one().body

    assert client.post("/me/second-factor/recovery-codes", CURRENT).status_code == 200
    assert "recovery codes" in mailbox.collect_one().body

    assert client.post("/me/second-factor/removal", CURRENT).status_code == 204
    notice = mailbox.collect_one()
    assert notice.to == ["ada@acme.example"]
    assert "was removed" in notice.body

    enrol(client)
    mailbox.collect()
    call_command("reset_second_factor", "acme", "ada@acme.example")
    assert "An operator has removed" in mailbox.collect_one().body


def test_owner_gets_a_notice_of_a_sign_in_with_a_recovery_code(ada, client, mailbox):
    _, codes = enrol(client)
    mailbox.collect()

    assert login(otp=codes[0]).status_code == 200

    assert "9 are left" in mailbox.collect_one().body
