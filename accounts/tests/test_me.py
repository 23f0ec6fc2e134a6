"""Changing one's own user changes the sent fields only."""

from __future__ import annotations

import pytest

from accounts.actions.users import update_user
from conftest import PASSWORD, ApiClient
from taskflow.tenancy import inside

pytestmark = pytest.mark.one_database


def give_password(fixtures, actor):
    with inside(fixtures.acme):
        update_user(fixtures.boss, actor.user, password=PASSWORD)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 200),
        ({"full_name": ""}, 200),
        ({"email": "EVE.new@acme.example"}, 200),
        ({"full_name": None}, 422),
        ({"email": None}, 422),
        ({"handle": None}, 422),
        ({"handle": "Eve"}, 422),
        ({"handle": "eve\n"}, 200),  # spaces around a text go
        ({"email": "bob@acme.example"}, 409),
        ({"email": "BOB@acme.example"}, 409),
        ({"email": "mallory@globex.example"}, 200),  # another tenant's is free
        ({"password": PASSWORD}, 422),
        ({"is_active": False}, 422),
        ({"scope": "admin"}, 422),
        ({"responsible_id": 1}, 422),
    ],
)
def test_updating_me_changes_the_sent_fields(fixtures, as_, events, body, status):
    give_password(fixtures, fixtures.eve)
    client = as_(fixtures.eve)
    body = body | ({"current_password": PASSWORD} if "email" in body else {})
    before, count = client.get("/me").json(), len(events(fixtures.acme))

    r = client.patch("/me", body)

    assert r.status_code == status, r.content
    after = client.get("/me").json()
    changed = {k for k in before if after[k] != before[k]} - {"updated_at", "version"}
    assert changed <= (body.keys() if status == 200 else set())
    assert len(events(fixtures.acme)) == count + bool(changed)


def test_agent_can_rename_itself_but_cannot_set_password(fixtures, as_):
    client = as_(fixtures.bot)

    assert client.patch("/me", {"full_name": "Robo"}).json()["full_name"] == "Robo"
    body = {"current_password": "!", "new_password": PASSWORD}
    assert client.post("/me/password", body).status_code == 422


@pytest.mark.parametrize(
    ("new", "code"),
    [("password1", "weak_password"), ("eve@acme.example", "weak_password"), ("7" * 12, "weak_password")],
)  # fmt: skip
def test_weak_password_is_reported_at_its_field(fixtures, as_, new, code):
    give_password(fixtures, fixtures.eve)
    client = as_(fixtures.eve)

    r = client.post("/me/password", {"current_password": PASSWORD, "new_password": new})

    (error,) = r.json()["errors"]
    assert (r.status_code, error["pointer"], error["code"]) == (422, "#/new_password", code)
    assert new not in r.content.decode()
    login = {"email": "eve@acme.example", "password": PASSWORD}
    assert ApiClient().post("/auth/login", login).status_code == 200


@pytest.mark.parametrize("scope", ["read", "write"])
def test_changing_own_user_needs_admin_scope(fixtures, as_, scope):
    client = as_(fixtures.eve, scope)

    assert client.patch("/me", {"full_name": "x"}).json()["code"] == "insufficient_scope"
    assert client.post("/me/password", {}).json()["code"] == "insufficient_scope"
    assert client.get("/me").json()["scope"] == scope
