from __future__ import annotations

import pytest
from django.contrib.auth.hashers import MD5PasswordHasher

from accounts.models import Tenant, User
from conftest import PASSWORD, ApiClient, new_tenant, person
from taskflow import settings as written
from taskflow.audit.actor import Actor
from taskflow.tenancy import inside

pytestmark = pytest.mark.one_database

BODY = {
    "tenant_name": "Initech",
    "subdomain": "initech",
    "full_name": "Peter G",
    "email": "Peter@Initech.example",
    "password": PASSWORD,
}


def register(**changes):
    return ApiClient().post("/auth/register", BODY | changes)


# ---- registering --------------------------------------------------------------------------------


def test_registering_creates_tenant_with_administrator(db, events):
    r = register()

    assert r.status_code == 201
    body = r.json()
    assert (body["tenant"]["subdomain"], body["user"]["is_staff"]) == ("initech", True)
    assert (body["user"]["email"], body["user"]["handle"]) == ("peter@initech.example", "peter")
    assert ApiClient(body["token"]).get("/me").json()["tenant"]["name"] == "Initech"
    made = events(Tenant.objects.get(subdomain="initech"))
    assert [str(e).split()[0] for e in made] == [
        "user.created",
        "user.signed_in",
        "apitoken.created",
    ]
    assert PASSWORD not in str([e.changes for e in made])


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"subdomain": "platform"}, 422, "invalid"),
        ({"subdomain": "www"}, 422, "invalid"),
        ({"subdomain": "-x"}, 422, "validation_failed"),
        ({"subdomain": "Upper"}, 422, "validation_failed"),
        ({"subdomain": "a.b"}, 422, "validation_failed"),
        ({"subdomain": "acme"}, 422, "invalid"),  # the default tenant's
        ({"subdomain": "globex"}, 409, "taken"),
        ({"password": "12345678"}, 422, "invalid"),
        ({"password": "peter@initech.example"}, 422, "invalid"),
        ({"email": "nobody"}, 422, "validation_failed"),
        ({"full_name": ""}, 422, "validation_failed"),
        ({"is_superuser": True}, 422, "validation_failed"),
    ],
)
def test_refused_registration_stores_nothing(fixtures, changes, status, code):
    r = register(**changes)

    assert (r.status_code, r.json()["code"]) == (status, code)
    assert set(Tenant.objects.values_list("subdomain", flat=True)) == {"acme", "globex"}


@pytest.mark.parametrize("default", ["acme", "initech", "Initech"])
def test_registering_the_default_tenant_is_refused_before_it_exists(db, settings, default):
    """Its administrator would receive the sign-ins at every host without a subdomain."""
    settings.DEFAULT_TENANT = default

    r = register(subdomain=default.lower())

    assert (r.status_code, r.json()["errors"][0]["pointer"]) == (422, "#/subdomain")
    assert "default tenant" in r.json()["detail"]
    assert not Tenant.objects.exists()


def test_registering_is_refused_when_disabled(db, settings):
    settings.REGISTRATION = False

    assert register().status_code == 403


# ---- signing in ---------------------------------------------------------------------------------


@pytest.fixture
def ada(db):
    boss = new_tenant("acme", "boss", PASSWORD)
    with inside(boss.tenant):
        return person(boss, "ada", PASSWORD)


def login(email="ada@acme.example", password=PASSWORD, client=None, **more):
    return (client or ApiClient()).post(
        "/auth/login", {"email": email, "password": password} | more
    )


@pytest.mark.parametrize(
    ("client", "body"),
    [
        ({}, {"tenant": "acme"}),
        ({"SERVER_NAME": "acme.localhost"}, {}),
        ({"HTTP_X_TENANT": "acme"}, {}),
        ({}, {}),  # the default tenant
        ({}, {"email": "ADA@acme.example"}),
    ],
)
def test_sign_in_finds_tenant_by_body_host_header_or_default(ada, client, body):
    r = login(**{"client": ApiClient(**client)} | body)

    assert r.status_code == 200
    assert ApiClient(r.json()["token"]).get("/me").json()["handle"] == "ada"
    assert r.json()["expires_at"] is not None


def test_every_failed_sign_in_gets_the_same_response_and_hashes_once(ada, monkeypatch):
    with inside(ada.tenant):
        bob = person(new_boss(ada), "bob", PASSWORD)
        User.objects.filter(pk=bob.user.pk).update(is_active=False)
    hashed = []
    encode = MD5PasswordHasher.encode
    monkeypatch.setattr(
        MD5PasswordHasher, "encode", lambda self, *a: hashed.append(1) or encode(self, *a)
    )
    responses = []
    for email, password in (
        ("ada@acme.example", "wrong"),
        ("nobody@acme.example", PASSWORD),
        ("bob@acme.example", PASSWORD),
        ("boss@acme.example\\", PASSWORD),
    ):
        hashed.clear()
        r = login(email, password)
        responses.append((r.status_code, {**r.json(), "request_id": ""}, len(hashed)))

    assert responses[0][0] == 401
    assert all(response == responses[0] for response in responses)


def new_boss(actor):
    return Actor(User.objects.get(handle="boss"), actor.tenant)


def test_password_of_another_tenant_is_refused(ada):
    new_tenant("globex", "mallory", PASSWORD)

    assert login("mallory@globex.example").status_code == 401
    assert login("mallory@globex.example", tenant="globex").status_code == 200


def test_sign_in_ignores_old_token_and_cookie(ada):
    other = new_tenant("globex", "mallory", PASSWORD)
    stale = login("mallory@globex.example", tenant="globex").json()["token"]

    assert login(client=ApiClient(stale)).status_code == 200
    assert other


def test_sign_in_with_different_host_and_header_is_not_found(ada):
    new_tenant("globex", "mallory", PASSWORD)
    client = ApiClient(SERVER_NAME="acme.localhost", HTTP_X_TENANT="globex")

    assert login(client=client).status_code == 404
    assert login(tenant="nobody").status_code == 404
    assert login(tenant="").status_code == 404


def test_scrypt_is_the_only_hasher():
    assert written.PASSWORD_HASHERS == ["django.contrib.auth.hashers.ScryptPasswordHasher"]


def test_signing_out_revokes_the_token(ada):
    client = ApiClient(login().json()["token"])

    assert client.post("/auth/logout").status_code == 204
    assert client.get("/me").status_code == 401


# ---- oneself ------------------------------------------------------------------------------------


def test_changing_own_user_changes_only_sent_fields(fixtures, as_, events):
    r = as_(fixtures.eve).patch("/me", {"full_name": "Eve E"})

    assert (r.json()["full_name"], r.json()["handle"]) == ("Eve E", "eve")
    assert events(fixtures.acme)[-1].changes == {"full_name": ["Eve", "Eve E"]}


@pytest.mark.parametrize("body", [{"is_staff": True}, {"kind": "agent"}, {"tenant": 2}, {"id": 1}])
def test_user_cannot_promote_themselves(fixtures, as_, body):
    assert as_(fixtures.eve).patch("/me", body).status_code == 422


def test_taken_handle_is_a_conflict(fixtures, as_):
    r = as_(fixtures.eve).patch("/me", {"handle": "bob"})

    assert (r.status_code, r.json()["detail"]) == (409, "This handle is taken.")


def test_new_password_revokes_every_other_token(ada):
    here, there = (ApiClient(login().json()["token"]) for _ in range(2))

    r = here.post("/me/password", {"current_password": PASSWORD, "new_password": "new battery 77"})

    assert r.status_code == 204
    assert (here.get("/me").status_code, there.get("/me").status_code) == (200, 401)
    assert (login().status_code, login(password="new battery 77").status_code) == (401, 200)


@pytest.mark.parametrize(
    ("current", "new", "field"),
    [("wrong", "new battery 77", "current_password"), (PASSWORD, "short", "new_password")],
)
def test_refused_password_changes_nothing(ada, current, new, field):
    client = ApiClient(login().json()["token"])

    r = client.post("/me/password", {"current_password": current, "new_password": new})

    assert (r.status_code, r.json()["errors"][0]["pointer"]) == (422, f"#/{field}")
    assert login().status_code == 200
