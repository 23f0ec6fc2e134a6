"""The tenant: its settings, and its name in host or header."""

from __future__ import annotations

import pytest
from django.test import Client

from accounts.actions.tenants import create_operator
from accounts.auth import find_tenant
from accounts.models import Tenant
from conftest import new_tenant
from taskflow.http.errors import NotFound

pytestmark = pytest.mark.one_database


def test_every_user_can_read_the_tenant(fixtures, as_):
    r = as_(fixtures.bob).get("/tenant")

    assert r.status_code == 200
    shown = {n: r.json()[n] for n in ("id", "name", "subdomain", "time_zone")}
    assert shown == {
        "id": fixtures.acme.pk,
        "name": "Acme",
        "subdomain": "acme",
        "time_zone": "UTC",
    }


def test_administrator_can_change_the_tenant_with_event(fixtures, as_, events):
    r = as_(fixtures.boss).patch("/tenant", {"name": "Acme & Sons", "time_zone": "Asia/Kolkata"})

    assert (r.status_code, r.json()["name"]) == (200, "Acme & Sons")
    (event,) = events(fixtures.acme, subject_type="tenant", verb="changed")
    assert event.changes == {
        "name": ["Acme", "Acme & Sons"],
        "time_zone": ["UTC", "Asia/Kolkata"],
    }
    assert Tenant.objects.get(pk=fixtures.globex.pk).name == "Globex"


@pytest.mark.parametrize(
    "body",
    [{"name": ""}, {"time_zone": "Mars/Base"}, {"time_zone": ""}, {"subdomain": "x"}, {"id": 1}],
)
def test_invalid_tenant_settings_are_refused(fixtures, as_, body):
    assert as_(fixtures.boss).patch("/tenant", body).status_code == 422
    assert Tenant.objects.get(pk=fixtures.acme.pk).time_zone == "UTC"


def test_token_without_admin_scope_cannot_change_the_tenant(fixtures, as_):
    assert as_(fixtures.boss, "write").patch("/tenant", {"name": "x"}).status_code == 403


@pytest.mark.parametrize("path", ["/tenant", "/me", "/tasks", "/projects", "/trash"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"X-Tenant": "acme"}, 200),
        ({"X-Tenant": "ACME"}, 200),
        ({"Host": "acme.localhost"}, 200),
        ({"Host": "acme.localhost", "X-Tenant": "acme"}, 200),
        ({"X-Tenant": "globex"}, 404),
        ({"X-Tenant": "nobody"}, 404),
        ({"X-Tenant": "Ä"}, 404),
        ({"X-Tenant": ""}, 404),  # what the server makes of a header that is not ASCII
        ({"Host": "globex.localhost"}, 404),
        ({"Host": "nobody.localhost"}, 404),
        ({"Host": "acme.localhost", "X-Tenant": "globex"}, 404),
    ],
)
def test_host_or_header_of_another_tenant_is_not_found(fixtures, as_, path, headers, status):
    r = as_(fixtures.ada).get(path, headers=headers)

    assert r.status_code == status
    if status == 404:
        assert r.headers["Content-Type"] == "application/problem+json"


class TestDefaultTenant:
    """Which tenant a host without a subdomain belongs to."""

    def test_only_tenant_is_the_default_one(self, db):
        only = new_tenant("initech", "boss").tenant

        assert find_tenant(None) == only
        assert Client().get("/admin/login/").status_code == 200

    def test_of_several_tenants_none_is_the_default_one(self, db):
        new_tenant("initech", "boss")
        new_tenant("globex", "boss")

        with pytest.raises(NotFound):
            find_tenant(None)

    def test_platform_is_never_the_default_one(self, db):
        create_operator(email="op@platform.example", full_name="Op", password="correct horse")

        with pytest.raises(NotFound):
            find_tenant(None)

    def test_deactivated_tenant_is_not_replaced_by_the_only_other_one(self, db, settings):
        settings.DEFAULT_TENANT = "initech"
        new_tenant("initech", "boss")
        Tenant.objects.update(is_active=False)
        new_tenant("globex", "boss")

        with pytest.raises(NotFound):
            find_tenant(None)
