"""A common password is refused in every channel that sets one."""

from __future__ import annotations

import pytest
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command
from django.test import Client

from accounts.models import User
from conftest import PASSWORD, ApiClient, new_tenant, token_of
from taskflow.tenancy import inside

pytestmark = pytest.mark.one_database

COMMON = "iloveyou1"  # of Django's list; long enough, and not of digits only
CURRENT = {"current_password": PASSWORD}


@pytest.fixture
def boss(db, settings):
    settings.REGISTRATION = True
    return new_tenant("acme", "boss", PASSWORD)


def by_registration(boss, client, browser):
    body = {"tenant_name": "N", "subdomain": "newone", "full_name": "N", "email": "n@x.example"}
    return ApiClient().post("/auth/register", body | {"password": COMMON})


def by_new_user(boss, client, browser):
    return client.post("/users", {"email": "n@x.example", "password": COMMON})


def by_change_of_a_user(boss, client, browser):
    return client.patch("/users/@boss", CURRENT | {"password": COMMON})


def by_own_change(boss, client, browser):
    return client.post("/me/password", CURRENT | {"new_password": COMMON})


def by_form_of_a_user(boss, client, browser):
    form = {"kind": "human", "handle": "n", "email": "n@x.example", "is_active": "on"}
    return browser.post("/admin/accounts/user/add/", form | {"password": COMMON})


def by_own_page(boss, client, browser):
    form = {"old_password": PASSWORD, "new_password1": COMMON, "new_password2": COMMON}
    return browser.post("/admin/password_change/", form)


WAYS = [
    by_registration,
    by_new_user,
    by_change_of_a_user,
    by_own_change,
    by_form_of_a_user,
    by_own_page,
]


@pytest.mark.sampled(len(WAYS))
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.slow
def test_common_password_is_refused_and_not_stored(boss, way):
    client, browser = ApiClient(token_of(boss)), Client()
    browser.post("/admin/login/", {"username": "boss@acme.example", "password": PASSWORD})

    r = way(boss, client, browser)

    assert r.status_code in (200, 422), r.content
    assert "too common" in r.content.decode()
    with inside(boss.tenant):
        assert not any(user.check_password(COMMON) for user in User.objects.all())


@pytest.mark.parametrize("command", ["createsuperuser", "create_tenant"])
def test_common_password_is_refused_by_commands(boss, command, monkeypatch):
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", COMMON)
    monkeypatch.setenv("TENANT_OWNER_PASSWORD", COMMON)
    options = {"email": "n@x.example", "interactive": False}
    if command == "create_tenant":
        options |= {"name": "N", "subdomain": "newone", "full_name": "N"}

    with pytest.raises(CommandError, match="too common"):
        call_command(command, **options)


@pytest.mark.parametrize(
    "password", ["ILoveYou1", "ｉｌｏｖｅｙｏｕ１", "12345678901", "boss@acme.example"]
)
def test_variant_of_a_weak_password_is_refused(boss, password):
    client = ApiClient(token_of(boss))

    r = client.post("/me/password", CURRENT | {"new_password": password})

    assert r.status_code == 422
    assert r.json()["errors"][0]["pointer"] == "#/new_password"


def test_list_of_common_passwords_is_part_of_the_settings():
    names = [validator["NAME"] for validator in django_settings.AUTH_PASSWORD_VALIDATORS]

    assert any(name.endswith("CommonPasswordValidator") for name in names)


def test_common_password_is_refused_by_the_link_of_a_reset(boss, mailbox):
    ApiClient().post("/auth/password-resets", {"email": "boss@acme.example", "tenant": "acme"})
    token = mailbox.collect_link().partition("token=")[2]

    r = ApiClient().post("/auth/password-resets/completion", {"token": token, "password": COMMON})

    assert (r.status_code, "too common" in r.content.decode()) == (422, True)


@pytest.mark.parametrize("channel", ["api", "page"])
def test_common_password_is_refused_by_the_link_of_an_invitation(boss, mailbox, channel):
    ApiClient(token_of(boss)).post("/invitations", {"email": "n@x.example"})
    body = {"token": mailbox.collect_token(), "password": COMMON}

    if channel == "api":
        r = ApiClient().post("/invitations/acceptance", body)
    else:
        r = Client(SERVER_NAME="acme.localhost").post("/admin/invitation/", body)

    assert (r.status_code, "too common" in r.content.decode()) in ((422, True), (200, True))
    with inside(boss.tenant):
        assert not User.objects.filter(email="n@x.example").exists()
