"""Nobody can register what people would take for the default tenant or for the installation."""

from __future__ import annotations

import pytest

from accounts.models import Tenant
from accounts.reserved import RESERVED_NAMES, RESERVED_SUBDOMAINS, simplify_name
from conftest import PASSWORD, ApiClient, new_tenant
from taskflow.tests.contract import api_document

pytestmark = pytest.mark.one_database

BODY = {
    "tenant_name": "Initech",
    "subdomain": "initech",
    "full_name": "Ira",
    "email": "ira@initech.example",
    "password": PASSWORD,
}
LIKE_ACME = ["acme", "4cme", "a-cme", "acrne", "a-c-m-e", "acm3", "4-crn3"]
NAMES_LIKE_ACME = [
    "Acme",
    "ACME",
    "A C M E",
    "Acmé",
    "ａｃｍｅ",
    "аcme",
    "αсмε",
    "ACΜE",
    "4cme!",
    "Ac\u00adme",  # an invisible hyphen
    "𝐀𝐜𝐦𝐞",
]


def register(**changes):
    return ApiClient().post("/auth/register", BODY | changes)


def assert_refused(r, field):
    assert (r.status_code, r.json()["errors"][0]["pointer"]) == (422, f"#/{field}"), r.content
    assert "Choose another" in r.json()["detail"]
    assert not Tenant.objects.filter(subdomain=BODY["subdomain"]).exists()


@pytest.mark.parametrize("subdomain", LIKE_ACME)
def test_subdomain_that_looks_like_the_default_tenant_is_refused(db, subdomain):
    assert_refused(register(subdomain=subdomain), "subdomain")


@pytest.mark.parametrize("name", NAMES_LIKE_ACME)
def test_name_that_looks_like_the_subdomain_of_the_default_tenant_is_refused(db, name):
    assert_refused(register(tenant_name=name), "tenant_name")


@pytest.mark.parametrize("exists", [True, False])
def test_name_and_subdomain_like_the_name_of_the_default_tenant_are_refused(db, exists):
    if exists:
        new_tenant("acme", "boss")
        Tenant.objects.update(name="Great Works")

    as_name = register(tenant_name="GREAT-W0RKS")
    as_subdomain = register(subdomain="great-works")

    if exists:
        assert_refused(as_name, "tenant_name")
        assert_refused(as_subdomain, "subdomain")
    else:
        assert (as_name.status_code, as_subdomain.status_code) == (201, 201)


@pytest.mark.sampled(5)
@pytest.mark.parametrize(
    "subdomain",
    [*sorted(RESERVED_SUBDOMAINS), "adm1n", "p1atform", "ap-i", "vvww", "w-w-w", "l0gin", "xn--cme-7ed"],
)  # fmt: skip
def test_reserved_subdomains_and_what_looks_like_them_are_refused(db, subdomain):
    assert_refused(register(subdomain=subdomain), "subdomain")


@pytest.mark.parametrize("name", [*sorted(RESERVED_NAMES), "Plаtform", "T4SKFLOW", "Task Flow"])
def test_reserved_names_and_what_looks_like_them_are_refused(db, name):
    assert_refused(register(tenant_name=name), "tenant_name")


@pytest.mark.parametrize(
    ("name", "subdomain"),
    [("Acme Labs", "acme-labs"), ("Status", "statuscorp"), ("Admin Tools", "admin-tools"),
     ("株式会社", "kaisha"), ("—", "dash")],
)  # fmt: skip
def test_other_names_can_be_registered(db, name, subdomain):
    assert register(tenant_name=name, subdomain=subdomain).status_code == 201


@pytest.mark.parametrize("method", ["patch", "put"])
def test_tenant_cannot_be_renamed_to_what_looks_like_the_default_tenant(fixtures, as_, method):
    client = as_(fixtures.mallory)

    r = getattr(client, method)("/tenant", {"name": "Асmе"})

    assert (r.status_code, r.json()["errors"][0]["pointer"]) == (422, "#/name")
    assert client.patch("/tenant", {"name": "Globex 2"}).status_code == 200


def test_default_tenant_can_be_renamed(fixtures, as_):
    assert as_(fixtures.boss).patch("/tenant", {"name": "ACME Inc"}).status_code == 200
    assert as_(fixtures.boss).patch("/tenant", {"name": "Acme"}).status_code == 200


def test_every_reserved_name_is_simplified_to_itself_or_a_lookalike():
    for name in RESERVED_SUBDOMAINS | RESERVED_NAMES:
        assert simplify_name(simplify_name(name)) == simplify_name(name) != ""


def test_closed_registration_says_what_to_do(db, settings):
    settings.REGISTRATION = False

    r = register()

    assert (r.status_code, r.json()["code"]) == (403, "registration_closed")
    assert "manage.py create_tenant" in r.json()["detail"]
    assert "TASKFLOW_REGISTRATION=1" in r.json()["detail"]
    assert not Tenant.objects.exists()
    document = api_document()["paths"]["/api/v1/auth/register"]["post"]
    assert "registration_closed" in document["description"]
